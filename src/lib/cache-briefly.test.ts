import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cacheBriefly } from './cache-briefly.ts'

test('Callers within the time share one lookup, and the next one repeats it', () => {
  let now = 0
  let looks = 0
  const look = cacheBriefly(
    1_000,
    () => ++looks,
    () => now,
  )
  assert.equal(look(), 1)
  now = 999
  assert.equal(look(), 1)
  now = 1_000
  assert.equal(look(), 2)
})

test('A failed lookup is not cached', () => {
  let looks = 0
  const look = cacheBriefly(1_000, () => {
    if (++looks === 1) throw new Error('not there')
    return looks
  })
  assert.throws(look)
  assert.equal(look(), 2)
})
