import assert from 'node:assert/strict'
import { mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { KeptResults } from './kept-results.ts'

const counts = { passed: 3, failed: 0, skipped: 1 }

test('A later run of the same tree has the counts of files that passed, by user', () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'kept-'))
  const path = join(folder.path, 'long.json')
  const first = new KeptResults(path, 'tree')
  first.put('root', ['a', 'b'], counts)
  first.put('root', ['c'], { ...counts, failed: 1 })
  const later = new KeptResults(path, 'tree')
  assert.equal(later.size, 1)
  assert.deepEqual(later.get('root', ['a', 'b']), counts)
  for (const [user, files] of [
    ['root', ['c']],
    ['root', ['a']],
    ['an ordinary user', ['a', 'b']],
  ] as const)
    assert.equal(later.get(user, files), undefined)
})

test('A run of another tree, after a complete run or with a broken file has none', () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'kept-'))
  const path = join(folder.path, 'long.json')
  const first = new KeptResults(path, 'tree')
  first.put('root', ['a'], counts)
  assert.equal(new KeptResults(path, 'other').size, 0)
  first.clear()
  assert.equal(new KeptResults(path, 'tree').size, 0)
  writeFileSync(path, '{"key":"tree","cou')
  assert.equal(new KeptResults(path, 'tree').size, 0)
})
