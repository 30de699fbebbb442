import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isBelow } from './is-below.ts'

test('A path is below a folder by whole names', () => {
  assert.deepEqual(
    [
      isBelow('/a', '/a'),
      isBelow('/a/b', '/a'),
      isBelow('/a/b', '/a/'),
      isBelow('/a', '/'),
      isBelow('/ab', '/a'),
      isBelow('/', '/a'),
    ],
    [true, true, true, true, false, false],
  )
})
