import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { againOf, nothingCounted, withSecond, type Counted } from './counts.ts'

const same = (file: string) => file
const one = { passed: 4, failed: 1, skipped: 2 }

function counted(...files: readonly string[]): Counted {
  return {
    passed: 100,
    failed: files.length,
    skipped: 10,
    files: Object.fromEntries(files.map((file) => [file, one])),
  }
}

suite('Second runs', () => {
  test('Up to five failing files run again', () => {
    assert.deepEqual(againOf(counted('tests/walls/a.test.ts'), same), ['tests/walls/a.test.ts'])
    assert.deepEqual(againOf(counted('a', 'b', 'c', 'd', 'e'), same), ['a', 'b', 'c', 'd', 'e'])
    assert.deepEqual(againOf({ ...nothingCounted, files: {} }, same), [])
  })

  test('Many failing files, failures without a file, and containment failures do not run again', () => {
    assert.deepEqual(againOf(counted('a', 'b', 'c', 'd', 'e', 'f'), same), [])
    assert.deepEqual(againOf({ ...counted('a'), failed: 2 }, same), [])
    assert.deepEqual(againOf(counted('a', 'tests/hostile/b.test.ts'), same), [])
  })

  test('Second counts replace the first, passed or failed', () => {
    const first = counted('a')
    const all = { passed: 101, failed: 0, skipped: 10 }
    assert.deepEqual(withSecond(first, { passed: 5, failed: 0, skipped: 2 }), all)
    assert.deepEqual(withSecond(first, one), { passed: 100, failed: 1, skipped: 10 })
  })
})
