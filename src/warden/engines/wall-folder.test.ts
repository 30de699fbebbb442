import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { inDeepFolder } from '../../../tests/fixtures/deep-folder.ts'
import { makeWallFolder, removeWallFolder, sweepWallFolder } from './wall-folder.ts'

/** Leftovers of programs, each in a folder of its own. */
const leftovers: Readonly<Record<string, (folder: string) => void>> = {
  'folders that their owner may not read, enter or change': (folder) => {
    for (const mode of [0o000, 0o400, 0o500]) {
      const closed = join(folder, `${mode}`)
      mkdirSync(join(closed, 'below'), { recursive: true })
      writeFileSync(join(closed, 'below', 'file'), 'x')
      for (const one of [join(closed, 'below'), closed]) chmodSync(one, mode)
    }
  },
  'a tree deeper than a path can name': (folder) => {
    inDeepFolder(folder, () => writeFileSync('file', 'x'))
  },
  'a folder whose name is no UTF-8, and that its owner may not read': (folder) => {
    const closed = Buffer.from(join(folder, 'closed\xff'), 'latin1')
    mkdirSync(closed)
    writeFileSync(Buffer.from(join(folder, 'closed\xff/file'), 'latin1'), 'x')
    chmodSync(closed, 0o000)
  },
  'a tree deeper than a path can name that its owner may not read at its lowest': (folder) => {
    inDeepFolder(folder, () => {
      mkdirSync('closed')
      writeFileSync('closed/file', 'x')
      for (const one of ['closed', '.']) chmodSync(one, 0o000)
    })
  },
}

const ends = { 'at its end': removeWallFolder, 'by the next warden': sweepWallFolder }

suite('The folder of a wall on the disk', () => {
  for (const [left, leave] of Object.entries(leftovers))
    for (const [when, end] of Object.entries(ends))
      test(`is removed ${when} with ${left}`, async () => {
        const id = `test-${process.pid}-${Math.random().toString(36).slice(2)}`
        const folder = makeWallFolder(id)
        leave(folder)
        await end(id)
        const isLeft = existsSync(folder)
        if (isLeft) rmSync(folder, { recursive: true, force: true })
        assert.equal(isLeft, false)
      })
})
