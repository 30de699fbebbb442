import assert from 'node:assert/strict'
import { test } from 'node:test'
import { closeWithin } from './close.ts'

test('The close of a warden that hangs is bounded', async () => {
  const began = performance.now()
  await closeWithin({ close: () => new Promise(() => {}) }, 20)
  assert.ok(performance.now() - began >= 15)
})

test('A warden that fails to close reports it', async () => {
  await assert.rejects(closeWithin({ close: () => Promise.reject(new Error('stuck')) }), /stuck/)
})
