import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inDeepFolder } from '../../../tests/fixtures/deep-folder.ts'
import { makeRemovable, removeHostileTree } from './hostile-folder.ts'

test('A tree of many levels is made no deeper than rm, which holds a descriptor for each, can remove', () => {
  const base = mkdtempSync(join(tmpdir(), 'hostile-folder-'))
  try {
    for (let level = 0; level < 15; level++)
      inDeepFolder(lowest(base), () => mkdirSync('next'), 'd')
    // A file in the way of a folder that is moved up under a name that can be foreseen.
    writeFileSync(join(base, '.mayfly-deep-0'), '')
    makeRemovable(base)
    rmSync(join(base, '.mayfly-deep-0'))
    const levels = readdirSync(base, { recursive: true, encoding: 'utf8' }).map(
      (below) => below.split('/').length,
    )
    assert.equal(levels.length, 15 * 21)
    assert.ok(Math.max(...levels) <= 200, `${Math.max(...levels)} levels`)
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})

test('A tree of any depth is removed, and a link is removed itself', async () => {
  const base = mkdtempSync(join(tmpdir(), 'hostile-folder-'))
  try {
    const [tree, outside] = [join(base, 'tree'), join(base, 'outside')]
    for (const one of [tree, outside]) mkdirSync(one)
    writeFileSync(join(outside, 'file'), '')
    for (let level = 0; level < 15; level++)
      inDeepFolder(lowest(tree), () => mkdirSync('next'), 'd')
    symlinkSync(outside, join(tree, 'link'))
    symlinkSync(outside, join(base, 'link'))
    for (const one of [tree, join(base, 'link'), join(base, 'none')]) await removeHostileTree(one)
    assert.deepEqual(readdirSync(base), ['outside'])
    assert.ok(existsSync(join(outside, 'file')))
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})

test('A folder of a hundred thousand files is removed by a process whose heap has no room for their names', () => {
  const base = mkdtempSync(join(tmpdir(), 'hostile-folder-'))
  try {
    const name = join(base, 'tree', 'x'.repeat(200))
    const program = `
      import { mkdirSync, writeFileSync } from 'node:fs'
      import { keepPoolAwake } from ${JSON.stringify(import.meta.resolve('../../lib/keep-pool-awake.ts'))}
      import { removeHostileTree } from ${JSON.stringify(import.meta.resolve('./hostile-folder.ts'))}
      keepPoolAwake()
      mkdirSync(${JSON.stringify(join(base, 'tree'))})
      for (let n = 0; n < 100_000; n++) writeFileSync(${JSON.stringify(name)} + n, '')
      await removeHostileTree(${JSON.stringify(join(base, 'tree'))})`
    const args = ['--max-old-space-size=16', '--input-type=module', '--eval', program]
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    assert.deepEqual([status, readdirSync(base)], [0, []], stderr.slice(0, 500))
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})

function lowest(folder: string): string {
  const [name] = readdirSync(folder)
  return name === undefined ? folder : lowest(join(folder, name))
}
