import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import { FrameQueue } from './frame-queue.ts'

function played() {
  const seen: (number | string)[] = []
  const wall = { pause: () => seen.push('pause'), resume: () => seen.push('resume') }
  const frames = new FrameQueue(wall as never, ({ kind }) => seen.push(kind))
  const receive = (kind: number) => frames.receive({ kind, payload: Buffer.alloc(0) })
  return { seen, frames, receive }
}

test('A socket is paused while a chunk is consumed, and once for all frames of one read', async () => {
  const { seen, frames, receive } = played()
  const took = Promise.withResolvers<void>()
  frames.pauseUntil(took.promise)
  receive(1)
  receive(2)
  assert.deepEqual(seen, ['pause'])
  took.resolve()
  await turn()
  assert.deepEqual(seen, ['pause', 1, 2, 'resume'])
})

test('A short wait pauses the socket only when a frame arrives, and queues that frame', async () => {
  const { seen, frames, receive } = played()
  const first = Promise.withResolvers<void>()
  frames.queueUntil(first.promise)
  first.resolve()
  await turn()
  receive(1)
  assert.deepEqual(seen, [1])
  const second = Promise.withResolvers<void>()
  frames.queueUntil(second.promise)
  receive(2)
  receive(3)
  assert.deepEqual(seen, [1, 'pause'])
  second.reject(new Error('played'))
  await turn()
  assert.deepEqual(seen, [1, 'pause', 2, 3, 'resume'])
})
