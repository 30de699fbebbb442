import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { Keys } from '../../src/gateway/http/keys.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { until } from '../conformance/stand.ts'
import { adminKey, endOf, openDoor } from './http-door.ts'

/** Clients on a bad line, and clients that go away: slow is honest, endless is not. */
const head = (method: string, path: string, bytes: number): string =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${adminKey}\r\nContent-Type: application/json\r\nContent-Length: ${bytes}\r\n\r\n`
const upgrade = `GET /v1/executions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${adminKey}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`
const job = '{"code":"1"}'
const content = '{"content":"1"}'

/** Head of a text message of `bytes`, masked with zeros. */
function messageHead(bytes: number): Buffer {
  const frame = Buffer.from([0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  frame.writeUInt32BE(bytes, 6)
  return frame
}

interface Dialled {
  readonly socket: Socket
  readonly said: { text: string }
  readonly hears: (pattern: RegExp) => Promise<void>
  readonly isClosed: () => boolean
}

function dial(port: number, undo: DisposableStack): Dialled {
  const socket = connect(port, '127.0.0.1')
  undo.defer(() => socket.destroy())
  const said = { text: '' }
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => void (said.text += String(chunk)))
  const isClosed = () => socket.destroyed
  const hears = (pattern: RegExp) =>
    until(() => pattern.test(said.text) || isClosed(), `${pattern}`).then(() =>
      assert.match(said.text, pattern),
    )
  return { socket, said, hears, isClosed }
}

/** Sends a body of 80,000 bytes in pieces, for longer than a silent client has. */
async function trickle(socket: Socket): Promise<void> {
  for (let sent = 0; sent < 16; sent++) {
    socket.write(' '.repeat(4_992))
    await wait(200)
  }
  socket.write(' '.repeat(80_000 - 16 * 4_992 - job.length) + job)
}

for (const [what, begin, answer] of [
  ['A body', head('POST', '/v1/executions', 80_000), /^HTTP\/1\.1 200 /],
  ['A message', upgrade, /"event":"outcome"/],
] as const)
  test(`${what} that arrives slowly and steadily is read, for longer than a silent client has`, async () => {
    await using door = await openDoor({ limits: { bodyMs: 2000 } })
    using undo = new DisposableStack()
    const { socket, hears } = dial(door.activePort, undo)
    socket.write(begin)
    if (begin === upgrade) {
      await hears(/ 101 /)
      socket.write(messageHead(80_000))
    }
    await trickle(socket)
    await hears(answer)
  })

test('A client that answers no ping within a message it still sends is not disconnected', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  await using door = await openDoor()
  using undo = new DisposableStack()
  const { socket, said, hears } = dial(door.activePort, undo)
  socket.write(upgrade)
  await hears(/ 101 /)
  socket.write(messageHead(80_000))
  for (let sent = 0; sent < 4; sent++) {
    const before = said.text.length
    socket.write(' '.repeat(10_000))
    await wait(100)
    t.mock.timers.tick(30 * 15_000)
    await until(() => said.text.length > before || socket.destroyed, 'pings')
  }
  socket.write(' '.repeat(40_000 - job.length) + job)
  await hears(/"event":"outcome"/)
})

for (const [what, text, begin, refusal] of [
  ['A body', job, head('POST', '/v1/executions', job.length), /^$/],
  [
    'A body of active content',
    content,
    head('POST', '/active-content', content.length),
    /^HTTP\/1\.1 401 /,
  ],
  ['A message', job, upgrade, /UNAUTHENTICATED/],
] as const)
  test(`${what} that arrives after its key was revoked runs nothing`, async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const sender = { id: 'k', tenant: 'acme', principal: 'k', scopes: ['run'] } as const
    const state = { known: true, lookUps: 0 }
    const find: Keys['find'] = () => (state.lookUps++, state.known ? sender : undefined)
    await using door = await openDoor({ keys: { find }, limits: { keepAliveMs: 100 } })
    using undo = new DisposableStack()
    const { socket, said, isClosed } = dial(door.activePort, undo)
    socket.write(begin)
    if (begin === upgrade) socket.write(messageHead(text.length))
    socket.write(text.slice(0, 3))
    await until(() => state.lookUps > 0, 'the key to be looked up')
    state.known = false
    t.mock.timers.tick(5000)
    socket.write(text.slice(3))
    await until(isClosed, 'the end of the connection')
    assert.match(said.text.replace(/^HTTP\/1\.1 101 /, ''), refusal)
    assert.equal(door.jobs.length, 0)
  })

test('A pipelined job is waited for, also longer than the answer before it may take to be read', async () => {
  const gone: boolean[] = []
  const road: RunJob = async (asked, { signal }) => {
    if (asked.asked.code === '2') await wait(1500)
    gone.push(signal.aborted)
    return endOf(asked)
  }
  await using door = await openDoor({ road, limits: { writeMs: 300 } })
  using undo = new DisposableStack()
  const { socket, said } = dial(door.activePort, undo)
  const post = (code: string) => head('POST', '/v1/executions', 12) + `{"code":"${code}"}`
  socket.write(post('1') + post('2'))
  await until(
    () => said.text.split('HTTP/1.1 200 ').length === 3 || socket.destroyed,
    'two answers',
  )
  assert.deepEqual(gone, [false, false])
  assert.equal(said.text.split('HTTP/1.1 200 ').length, 3, said.text)
})

test('A body that no door reads ends with its connection some time after the answer', async () => {
  await using door = await openDoor({ limits: { bodyMs: 300, keepAliveMs: 60_000 } })
  using undo = new DisposableStack()
  const { socket, hears, isClosed } = dial(door.activePort, undo)
  socket.write(head('GET', '/v1/providers', 1_000_000))
  await hears(/^HTTP\/1\.1 200 /)
  const sending = setInterval(() => socket.write(' '), 50)
  undo.defer(() => clearInterval(sending))
  // Node's own timeout of a request would end it after 27 s.
  await until(isClosed, 'the end of the connection', 10_000)
})
