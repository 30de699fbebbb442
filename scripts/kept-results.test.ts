import assert from 'node:assert/strict'
import { mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { KeptResults } from './kept-results.ts'

const counts = { passed: 3, failed: 0, skipped: 1 }

const inTree = (tree: string) => () => tree

test('A later run of the same tree has the counts of files that passed, by user', () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'kept-'))
  const path = join(folder.path, 'long.json')
  const first = new KeptResults(path, inTree('tree'))
  first.put('root', ['a', 'b'], counts)
  first.put('root', ['c'], { ...counts, failed: 1 })
  const later = new KeptResults(path, inTree('tree'))
  assert.deepEqual(later.get('root', ['a', 'b']), counts)
  for (const [user, files] of [
    ['root', ['c']],
    ['root', ['a']],
    ['an ordinary user', ['a', 'b']],
  ] as const)
    assert.equal(later.get(user, files), undefined)
})

test('A run after a change of a file, after a complete run or with a broken file has no result of it', () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'kept-'))
  const path = join(folder.path, 'long.json')
  const keys = { a: '1', b: '1' }
  const open = () => new KeptResults(path, ([file]) => keys[file as keyof typeof keys])
  const first = open()
  for (const file of ['a', 'b']) first.put('root', [file], counts)
  keys.b = '2'
  const has = () => ['a', 'b'].map((file) => open().get('root', [file]) !== undefined)
  assert.deepEqual(has(), [true, false])
  writeFileSync(path, '{"root a":{"key":"1","cou')
  assert.deepEqual(has(), [false, false])
  first.put('root', ['a'], counts)
  first.clear()
  assert.deepEqual(has(), [false, false])
})
