import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inDeepFolder } from '../../../tests/fixtures/deep-folder.ts'
import { makeRemovable } from './hostile-folder.ts'

test('A tree of many levels is made no deeper than rm, which holds a descriptor for each, can remove', () => {
  const base = mkdtempSync(join(tmpdir(), 'hostile-folder-'))
  try {
    for (let level = 0; level < 15; level++)
      inDeepFolder(lowest(base), () => mkdirSync('next'), 'd')
    makeRemovable(base)
    const levels = readdirSync(base, { recursive: true, encoding: 'utf8' }).map(
      (below) => below.split('/').length,
    )
    assert.equal(levels.length, 15 * 21)
    assert.ok(Math.max(...levels) <= 200, `${Math.max(...levels)} levels`)
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})

function lowest(folder: string): string {
  const [name] = readdirSync(folder)
  return name === undefined ? folder : lowest(join(folder, name))
}
