import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { collectGarbage } from '../../src/lib/collect-garbage.ts'
import { adminKey, bearer, endOf, openDoor, type TestDoor } from './http-door.ts'
import { allEvents, readEvents } from './read-events.ts'

const chunk = 'x'.repeat(65_536)

function ask(door: TestDoor, signal?: AbortSignal): Promise<Response> {
  return fetch(`${door.gateway.activeUrl}/v1/executions`, {
    method: 'POST',
    headers: {
      ...bearer(adminKey),
      'content-type': 'application/json',
      accept: 'text/event-stream',
    },
    body: '{"code":"1"}',
    ...(signal && { signal }),
  })
}

/** Resolves when the signal of a job is aborted. */
const cancelled = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))

const talking: RunJob = async (job, { tap, on }) => {
  on?.({ at: 0, zone: 'main', event: 'phase', phase: 'full' })
  await tap?.('stdout', 'one\n\ndata: two')
  await tap?.('stderr', 'thrée')
  return endOf(job, { result: 4 })
}

const breaking: RunJob = async (_, { tap }) => {
  await tap?.('stdout', 'x')
  throw new Error('/secret/path')
}

test('A stream sends output and timeline events as they happen, and the outcome last', async () => {
  await using door = await openDoor({ road: talking })
  const response = await ask(door)
  assert.equal(response.headers.get('content-type'), 'text/event-stream')
  assert.equal(response.headers.get('cache-control'), 'no-store')
  const events = await allEvents(response)
  assert.deepEqual(
    events.map(({ event }) => event),
    ['event', 'stdout', 'stderr', 'outcome'],
  )
  assert.deepEqual(events[0]!.data, { at: 0, zone: 'main', event: 'phase', phase: 'full' })
  assert.deepEqual(events[1]!.data, { text: 'one\n\ndata: two' })
  assert.deepEqual(events[2]!.data, { text: 'thrée' })
  assert.equal(events[3]!.data['result'], 4)
})

test('The first byte arrives before the job has ended (S4-58)', async () => {
  const goOn = Promise.withResolvers<void>()
  const road: RunJob = async (job, { tap }) => {
    void tap?.('stdout', 'first')
    await goOn.promise
    return endOf(job)
  }
  await using door = await openDoor({ road })
  const events = readEvents(await ask(door))
  assert.deepEqual((await events.next()).value, { event: 'stdout', data: { text: 'first' } })
  goOn.resolve()
  assert.equal((await events.next()).value?.event, 'outcome')
})

test('A job that was blocked before it began is a problem, not a stream', async () => {
  const error = { code: 'THREAT_DETECTED', message: 'no' }
  await using door = await openDoor({
    road: async (job) => endOf(job, { status: 'blocked', error }),
  })
  const response = await ask(door)
  assert.equal(response.status, 403)
  assert.equal(((await response.json()) as Record<string, unknown>)['code'], 'THREAT_DETECTED')
})

test('An exception of the pipeline ends a stream with a problem that discloses nothing', async () => {
  await using door = await openDoor({ road: breaking })
  const events = await allEvents(await ask(door))
  assert.equal(events.at(-1)?.event, 'problem')
  assert.equal(events.at(-1)?.data['code'], 'INTERNAL')
  assert.ok(!JSON.stringify(events).includes('secret'))
})

test('A client that disconnects cancels its job', async () => {
  const told = Promise.withResolvers<void>()
  const road: RunJob = async (job, { tap, signal }) => {
    void tap?.('stdout', 'x')
    await cancelled(signal)
    told.resolve()
    return endOf(job, { status: 'cancelled' })
  }
  await using door = await openDoor({ road })
  const client = new AbortController()
  const events = readEvents(await ask(door, client.signal))
  await events.next()
  client.abort()
  await told.promise
})

test('A slow reader applies back-pressure to its own guest only (S4-58)', async () => {
  let passed = 0
  const road: RunJob = async (job, { tap, signal }) => {
    if (job.inputText !== '"flood"') return endOf(job)
    for (; passed < 4000 && !signal.aborted; passed++) await tap?.('stdout', chunk)
    return endOf(job, { status: 'cancelled' })
  }
  await using door = await openDoor({ road })
  const slow = connect(door.activePort, '127.0.0.1')
  const body = '{"code":"1","input":"flood"}'
  slow.write(
    `POST /v1/executions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${adminKey}\r\n` +
      `accept: text/event-stream\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  slow.pause()
  let before = -1
  const isMoving = () => passed === 0 || passed !== before
  for (let tries = 0; tries < 300 && isMoving(); tries++) {
    before = passed
    await sleep(100)
  }
  // Back-pressure: chunks taken are bounded by two socket buffers, not by the output of the guest.
  assert.ok(passed > 0 && passed < 400, `${passed} chunks were accepted`)
  const others = await Promise.all(
    Array.from({ length: 20 }, async () => allEvents(await ask(door))),
  )
  for (const events of others) assert.equal(events.at(-1)?.event, 'outcome')
  slow.resume()
  for (let tries = 0; tries < 300 && !isMoving(); tries++) await sleep(100)
  assert.ok(isMoving(), 'the job was ended, and not held back')
  slow.destroy()
})

test('Memory stays flat while output is streamed', async () => {
  const chunks = process.env['MAYFLY_LONG'] ? 16_384 : 1_024
  const road: RunJob = async (job, { tap }) => {
    for (let n = 0; n < chunks; n++) await tap?.('stdout', chunk)
    return endOf(job)
  }
  await using door = await openDoor({ road })
  // Before the request: the answer begins once the job has given its first text.
  const start = heldBytes()
  const response = await ask(door)
  let peak = 0
  let bytes = 0
  let parts = 0
  for await (const part of response.body!) {
    bytes += part.length
    if (parts++ % 128 !== 0) continue
    peak = Math.max(peak, heldBytes() - start)
  }
  assert.ok(bytes > chunks * chunk.length)
  assert.ok(parts > 4 * 128, `${parts} pieces: it was hardly looked at`)
  assert.ok(peak < 32 * 2 ** 20, `${peak} bytes were buffered`)
})

/** Text that waits is on the heap, bytes that wait are outside of it. */
function heldBytes(): number {
  collectGarbage()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
