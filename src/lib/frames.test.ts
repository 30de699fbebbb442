import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collectGarbage } from './collect-garbage.ts'
import { encodeFrame, FrameDecoder } from './frames.ts'

const MiB = 2 ** 20

function usedBytes(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

test('An incomplete frame takes memory by its bytes, not by the number of its pieces', () => {
  const decoder = new FrameDecoder(8 * MiB)
  const header = encodeFrame(17, Buffer.alloc(8 * MiB)).subarray(0, 5)
  const pieces = 300_000
  const before = usedBytes()
  for (const _ of decoder.push(header)) assert.fail('no frame is complete')
  for (let n = 0; n < pieces; n++)
    for (const _ of decoder.push(Buffer.from([n % 251]))) assert.fail('no frame is complete')
  const grown = usedBytes() - before
  assert.equal(decoder.heldBytes, 5 + pieces)
  assert.ok(grown < 8 * MiB, `${grown} bytes for ${pieces}`)
})

test('Bytes of a chunk that are not yielded yet count as held', () => {
  const decoder = new FrameDecoder(100)
  const chunk = Buffer.concat([encodeFrame(1, 'one'), encodeFrame(2, 'two'), Buffer.from([9])])
  const held = [...decoder.push(chunk.subarray(0, 6))].map(() => decoder.heldBytes)
  for (const _ of decoder.push(chunk.subarray(6))) held.push(decoder.heldBytes)
  assert.deepEqual([held, decoder.heldBytes], [[9, 1], 1])
})

test('A frame that a chunk holds completely is not copied', () => {
  const chunk = Buffer.concat([encodeFrame(1, 'one'), encodeFrame(2, 'two')])
  const payloads = [...new FrameDecoder(100).push(chunk)].map(({ payload }) => payload)
  chunk.fill('x')
  assert.deepEqual(payloads.map(String), ['xxx', 'xxx'])
})
