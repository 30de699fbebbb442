import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HeldBytes } from './held-bytes.ts'

test('Pieces are held in their order, up to the limit', () => {
  const held = new HeldBytes(5_000)
  const bytes = Buffer.from(Array.from({ length: 5_000 }, (_, at) => at % 251))
  for (let at = 0; at < bytes.length; at += 7) assert.ok(held.add(bytes.subarray(at, at + 7)))
  assert.equal(held.length, bytes.length)
  assert.equal(held.add(Buffer.alloc(1)), false)
  assert.ok(held.add(Buffer.alloc(0)))
  assert.deepEqual(held.take(), bytes)
})

test('Bytes that were taken are not changed by later ones', () => {
  const held = new HeldBytes(10)
  assert.ok(held.add(Buffer.from('one')))
  const one = held.take()
  assert.ok(held.add(Buffer.from('another')))
  assert.deepEqual([one.toString(), held.take().toString(), held.length], ['one', 'another', 0])
})
