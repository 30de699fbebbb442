import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { until } from '../conformance/stand.ts'
import { adminKey, bearer, endOf, openDoor, tokenOf, type TestDoor } from './http-door.ts'

interface Heard {
  readonly frames: readonly { readonly event: string; readonly data: Record<string, any> }[]
  readonly code: number
}

const wsUrl = (door: TestDoor, path = '/v1/executions') =>
  `${door.gateway.activeUrl.replace('http', 'ws')}${path}`

function open(
  door: TestDoor,
  headers: Record<string, string> = bearer(adminKey),
  path?: string,
): WebSocket {
  return new WebSocket(wsUrl(door, path), { headers })
}

/** Reads the frames of a connection up to its close. */
async function hear(socket: WebSocket): Promise<Heard> {
  const frames: Heard['frames'][number][] = []
  socket.on('message', (data: Buffer) =>
    frames.push(JSON.parse(String(data)) as Heard['frames'][number]),
  )
  const [code] = (await once(socket, 'close')) as [number]
  return { frames, code }
}

/** Sends one message and collects all frames. */
async function say(socket: WebSocket, message: string | Buffer): Promise<Heard> {
  const heard = hear(socket)
  await once(socket, 'open')
  socket.send(message)
  return heard
}

/** A client frame, masked with zeros. */
const masked = (first: number, text: string) =>
  Buffer.concat([Buffer.from([first, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])

/** The status with which an upgrade was refused. */
async function refusal(socket: WebSocket): Promise<number | undefined> {
  const [, response] = (await once(socket, 'unexpected-response')) as [
    unknown,
    { statusCode?: number },
  ]
  socket.on('error', () => undefined)
  socket.terminate()
  return response.statusCode
}

const talking: RunJob = async (job, { tap, on }) => {
  on?.({ at: 0, zone: 'main', event: 'phase', phase: 'full' })
  await tap?.('stdout', 'out')
  return endOf(job, { result: JSON.parse(job.inputText) as unknown })
}

const cancelled = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))

const forEver: RunJob = async (job, { signal }) => {
  await cancelled(signal)
  return endOf(job, { status: 'cancelled' })
}

test('A connection takes one job and sends the events of a stream (S0-17)', async () => {
  await using door = await openDoor({ road: talking })
  const { frames, code } = await say(open(door), '{"code":"1","input":[1]}')
  assert.deepEqual(
    frames.map(({ event }) => event),
    ['event', 'stdout', 'outcome'],
  )
  assert.deepEqual(frames[0]!.data, { at: 0, zone: 'main', event: 'phase', phase: 'full' })
  assert.deepEqual(frames[1]!.data, { text: 'out' })
  assert.deepEqual(frames[2]!.data['result'], [1])
  assert.equal(code, 1000)
  assert.equal(door.jobs[0]?.origin, 'websocket')
})

test('The key may be in the message, is not passed to the job, and is refused in the URL', async () => {
  await using door = await openDoor({ road: talking })
  const { frames } = await say(open(door, {}), JSON.stringify({ code: '1', token: adminKey }))
  assert.equal(frames.at(-1)?.event, 'outcome')
  assert.ok(!JSON.stringify(door.jobs[0]?.asked).includes(adminKey))
  const inAddress = await say(open(door, {}, `/v1/executions?token=${adminKey}`), '{"code":"1"}')
  assert.equal(inAddress.code, 4401)
})

test('A page runs active content over a connection with its token, on both endpoints', async () => {
  await using door = await openDoor({ road: talking })
  const message = JSON.stringify({ content: '1', sessionToken: await tokenOf(door) })
  for (const url of [door.gateway.activeUrl, door.gateway.staticUrl]) {
    const origin = door.gateway.staticUrl
    const socket = new WebSocket(`${url.replace('http', 'ws')}/active-content`, { origin })
    const { frames, code } = await say(socket, message)
    assert.deepEqual([frames.at(-1)?.event, code], ['outcome', 1000])
  }
  assert.deepEqual(
    door.jobs.map(({ origin }) => origin),
    ['page', 'page'],
  )
})

test('An invalid job message is answered with its error, and the connection closes', async () => {
  await using door = await openDoor()
  const cases: readonly (readonly [string | Buffer, number])[] = [
    ['{', 4400],
    ['{"code":1}', 4422],
    ['{"code":"1","nope":1}', 4422],
    ['{"code":"1","code":"2"}', 4400],
    ['[]', 4422],
    ['null', 4422],
    ['['.repeat(100), 4400],
    [Buffer.from('{"code":"1"}'), 4415],
  ]
  for (const [message, expected] of cases) {
    const { frames, code } = await say(open(door), message)
    assert.deepEqual([frames.map(({ event }) => event), code], [['problem'], expected])
  }
  const wrong = await say(open(door, {}), '{"code":"1","token":"mfy_no"}')
  assert.equal(wrong.code, 4401)
  assert.equal(door.jobs.length, 0)
})

test('Errors before the upgrade are answered over HTTP', async () => {
  await using door = await openDoor()
  const foreign = { ...bearer(adminKey), origin: 'https://evil.example' }
  assert.equal(await refusal(open(door, foreign)), 403)
  assert.equal(await refusal(open(door, bearer(`${adminKey}x`))), 401)
  assert.equal(await refusal(open(door, bearer(adminKey), '/livez')), 404)
  assert.equal(await refusal(open(door, bearer(adminKey), '/v1/../v1/executions/.x')), 404)
  assert.equal(await refusal(open(door, { host: 'evil.example' })), 421)
  assert.equal(
    await refusal(open(door, { origin: 'https://evil.example' }, '/active-content')),
    401,
  )
  const pages = new WebSocket(`${door.gateway.staticUrl.replace('http', 'ws')}/v1/executions`)
  assert.equal(await refusal(pages), 404)
})

test('A second message cancels the job: a connection takes one message', async () => {
  await using door = await openDoor({ road: forEver })
  const socket = open(door)
  const heard = hear(socket)
  await once(socket, 'open')
  socket.send('{"code":"1"}')
  await until(() => door.jobs.length > 0, 'the job')
  socket.send('{"code":"2"}')
  assert.equal((await heard).code, 1008)
  assert.equal(door.jobs.length, 1)
  const both = open(door)
  const refused = hear(both)
  await once(both, 'open')
  both.send('{"code":"1"}')
  both.send('{"code":"2"}')
  assert.equal((await refused).code, 1008)
})

test('A client that disconnects cancels its job', async () => {
  const told = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const road: RunJob = async (job, { signal }) => {
    begun.resolve()
    await cancelled(signal)
    told.resolve()
    return endOf(job, { status: 'cancelled' })
  }
  await using door = await openDoor({ road })
  const socket = open(door)
  await once(socket, 'open')
  socket.send('{"code":"1"}')
  await begun.promise
  socket.terminate()
  await told.promise
})

test('A connection that sends no job in time is closed', async () => {
  await using door = await openDoor({ limits: { bodyMs: 50 } })
  const { frames, code } = await hear(open(door))
  assert.deepEqual([frames[0]?.data['code'], code], ['REQUEST_TIMEOUT', 4408])
})

test('A message over the body limit closes the connection with 1009', async () => {
  await using door = await openDoor({ limits: { bodyBytes: 1000 } })
  const { code } = await say(open(door), JSON.stringify({ code: 'x'.repeat(2000) }))
  assert.equal(code, 1009)
})

test('Messages in transit count towards the limit of all bodies', async () => {
  await using door = await openDoor({ limits: { bodyBytes: 100_000, bodiesBytes: 50_000 } })
  const { code } = await say(open(door), JSON.stringify({ code: 'x'.repeat(80_000) }))
  assert.equal(code, 4503)
})

test('Invalid frames end a connection: reserved bits, no mask, a huge length, endless fragments', async () => {
  await using door = await openDoor({ limits: { bodyBytes: 100_000 } })
  const cases: Record<string, Buffer> = {
    'reserved bit': masked(0xf1, '{}'),
    'no mask': Buffer.from([0x81, 2, 0x7b, 0x7d]),
    'reserved opcode': masked(0x83, '{}'),
    'continuation of nothing': masked(0x80, '{}'),
    'fragmented ping': masked(0x09, 'x'),
    'invalid UTF-8': Buffer.concat([Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe])]),
    'length of 2^62': Buffer.from([0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    'endless fragments': Buffer.concat([
      masked(0x01, '{'),
      ...Array.from({ length: 5000 }, () => masked(0x00, ' ')),
    ]),
  }
  for (const [name, bytes] of Object.entries(cases)) {
    const socket = await rawSocket(door)
    const closed = closeOf(socket)
    socket.resume()
    socket.write(bytes)
    await closed
    assert.equal(door.jobs.length, 0, name)
  }
})

test('A flood of pings is disconnected, and unread responses do not pile up', async () => {
  await using door = await openDoor({ road: forEver })
  const socket = await rawSocket(door)
  const closed = closeOf(socket)
  const ping = Buffer.concat([Buffer.from([0x89, 0xfd, 0, 0, 0, 0]), Buffer.alloc(125)])
  socket.write(Buffer.concat(Array.from({ length: 1000 }, () => ping)))
  socket.resume()
  await closed
})

test('A slow reader applies back-pressure to its own guest only', async () => {
  let passed = 0
  const chunk = 'x'.repeat(65_536)
  const road: RunJob = async (job, { tap, signal }) => {
    if (job.inputText !== '"flood"') return endOf(job)
    for (; passed < 4000 && !signal.aborted; passed++) await tap?.('stdout', chunk)
    return endOf(job, { status: 'cancelled' })
  }
  await using door = await openDoor({ road })
  const slow = open(door)
  await once(slow, 'open')
  slow.send('{"code":"1","input":"flood"}')
  slow.pause()
  let before = -1
  const isMoving = () => passed === 0 || passed !== before
  for (let tries = 0; tries < 300 && isMoving(); tries++) {
    before = passed
    await sleep(100)
  }
  assert.ok(passed > 0 && passed < 400, `${passed} chunks were accepted`)
  const { code } = await say(open(door), '{"code":"1"}')
  assert.equal(code, 1000)
  slow.terminate()
})

test('A hundred connections at once each get their own outcome', async () => {
  await using door = await openDoor()
  const all = await Promise.all(
    Array.from({ length: 100 }, (_, n) => say(open(door), `{"code":"1","input":${n}}`)),
  )
  for (const [n, { frames }] of all.entries())
    assert.deepEqual(frames[0]?.data['result'], { echo: n })
})

function closeOf(socket: Socket): Promise<void> {
  socket.on('error', () => undefined)
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** An upgraded connection for raw bytes. */
async function rawSocket(door: TestDoor): Promise<Socket> {
  const socket = connect(door.activePort, '127.0.0.1')
  socket.write(
    `GET /v1/executions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${adminKey}\r\n` +
      `connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n` +
      `sec-websocket-key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  )
  const [head] = (await once(socket, 'data')) as [Buffer]
  assert.match(String(head), /^HTTP\/1\.1 101/)
  socket.pause()
  return socket
}
