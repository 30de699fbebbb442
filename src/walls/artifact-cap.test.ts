import assert from 'node:assert/strict'
import { test } from 'node:test'
import { artifact, playProgram } from '../../tests/fixtures/played-program.ts'
import { createArtifactCap } from './artifact-cap.ts'

/** Artifacts that guests make this server hold, with walls that are played. */

test('Artifacts up to the limit are buffered and counted; one byte more ends the job with its own limit error', async () => {
  const cap = createArtifactCap(1000)
  const guest = await playProgram(cap)
  guest.leaves('a', 60)
  guest.leaves('b', 40)
  assert.equal(guest.sandbox.heldBytes, 100)
  guest.leaves('c', 1)
  const { status, error, artifacts } = await guest.end
  assert.deepEqual([status, error?.code], ['error', 'ARTIFACTS_TOO_LARGE'])
  assert.deepEqual(artifacts, [])
  assert.equal(guest.sandbox.heldBytes, 0)
  assert.ok(guest.isKilled())
  assert.ok(cap.take(1000), 'all of it was given back')
})

test('Only the job that exceeds the cap over all sandboxes ends HOST_MEMORY', async () => {
  const cap = createArtifactCap(150)
  const [first, second] = [await playProgram(cap), await playProgram(cap)]
  first.leaves('a', 100)
  second.leaves('a', 50)
  second.leaves('b', 1)
  const { status, error } = await second.end
  assert.deepEqual([status, error?.code], ['failed', 'HOST_MEMORY'])
  assert.ok(!first.isKilled())
  const third = await playProgram(cap)
  third.leaves('a', 50)
  assert.ok(!third.isKilled(), 'the room of the one that ended is free')
  await Promise.all([first, second, third].map(({ sandbox }) => sandbox[Symbol.asyncDispose]()))
  assert.ok(cap.take(150), 'disposing gives the rest back')
})

test('An artifact is copied, so the buffer that it arrived in is not retained', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  const around = Buffer.alloc(2 ** 20)
  const frame = around.subarray(0, artifact('a', 10).copy(around))
  guest.hears(frame)
  guest.wallEnds()
  const { artifacts } = await guest.end
  assert.deepEqual(
    artifacts.map(({ bytes }) => bytes.buffer.byteLength),
    [10],
  )
})

test('Unread bytes of frames and of streams are counted as buffered', async () => {
  const guest = await playProgram(createArtifactCap(1000))
  guest.leaves('a', 10)
  guest.parts.wall.unreadBytes = 7
  assert.equal(guest.sandbox.heldBytes, 17)
  guest.parts.wall.streams.stdout.write('12345')
  await new Promise((then) => void setImmediate(then))
  assert.equal(guest.sandbox.heldBytes, 22)
})
