import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { encodeFrame } from '../lib/frames.ts'
import { runOf } from '../../tests/fixtures/guest-agent.ts'
import { AgentLink } from './agent-link.ts'

const kinds = { run: 2, status: 10, hello: 65, started: 67, output: 68, statused: 75, refused: 76 }

suite('The connection to an agent', () => {
  test('Two answers of one chunk reach two callers, the second of which asks later', async () => {
    const { socket, link } = await greeted()
    link.send({ kind: 'status', nonce: 1 })
    link.send({ kind: 'status', nonce: 2 })
    const first = link.take('statused', 1_000)
    socket.push(Buffer.concat([statused(1), statused(2)]))
    assert.equal((await first).nonce, 1)
    assert.equal((await link.take('statused', 1_000)).nonce, 2)
    link.close()
  })

  test('A late answer to a cancelled request is dropped, and does not answer the next request', async () => {
    const { socket, link } = await greeted()
    for (let n = 1; n <= 1_100; n++) {
      await assert.rejects(link.ask({ kind: 'status' }, 0), { code: 'PROTOCOL' })
      socket.push(statused(n))
    }
    const next = link.ask({ kind: 'status' }, 1_000)
    socket.push(statused(1_101))
    assert.equal((await next).nonce, 1_101)
    link.close()
  })

  test('A question that is refused rejects, and a refused program is no answer', async () => {
    const { socket, link } = await greeted()
    link.send({ ...runOf(1, 'true') })
    const asked = link.ask({ kind: 'status' }, 1_000)
    socket.push(refused(kinds.run, 1))
    socket.push(refused(kinds.status, 1))
    await assert.rejects(asked, /refuses "status" \(errno 2\)/)
    assert.equal((await link.take('refused', 1_000)).what, 'run')
    link.close()
  })

  test('A link to a clone of an agent accepts its hello, and continues the conversation of the original', async () => {
    const [first, second] = [playedSocket(), playedSocket()]
    const original = new AgentLink(first as Socket)
    first.push(hello(1))
    await original.take('hello', 1_000)
    original.send({ kind: 'status', nonce: 1 })
    first.push(Buffer.from(statused(1)))
    await original.take('statused', 1_000)
    const copy = AgentLink.reconnect(second as Socket, original.history)
    second.push(hello(1))
    await copy.take('hello', 1_000)
    copy.send({ kind: 'status', nonce: 2 })
    second.push(Buffer.from(statused(2)))
    assert.equal((await copy.take('statused', 1_000)).nonce, 2)
    for (const link of [original, copy]) link.close()
  })

  test('A link to a copy of a saved guest goes on at its position, takes no greeting, and its output goes to one reader', async () => {
    const { socket, link } = await greeted()
    link.send({ ...runOf(1, 'true') })
    assert.equal(link.position.programs.length, 1)
    link.send({ kind: 'status', nonce: 1 })
    assert.throws(() => link.position, /has pending requests/)
    assert.equal(link.isAtRest, false)
    const rested = link.rest(60_000)
    socket.push(statused(1))
    await rested
    await link.take('statused', 1_000)
    const { position } = link
    socket.push(Buffer.from(statused(2)).subarray(0, 9))
    await new Promise((resolve) => setImmediate(resolve))
    assert.throws(() => link.position, /half a message was received/)
    const other = playedSocket()
    const copy = AgentLink.goOn(other as Socket, position)
    const lines: string[] = []
    copy.onOutput = ({ bytes }) => void lines.push(bytes.toString())
    other.push(encodeFrame(kinds.started, Buffer.from([1, 1, 0, 0, 0, 2, 0, 0, 0])))
    other.push(encodeFrame(kinds.output, Buffer.from([1, 1, 0, 0, 0, 1, 0x6f, 0x6b])))
    copy.send({ kind: 'status', nonce: 1 })
    other.push(Buffer.from(statused(1)))
    await copy.take('statused', 1_000)
    assert.deepEqual(lines, ['ok'])
    other.push(hello(1))
    assert.match(await copy.ended, /Cannot accept "hello"/)
    link.close()
  })

  for (const [title, bytes] of [
    ['Another greeting', () => hello(2)],
    ['A message before the greeting', () => Buffer.from(statused(1))],
  ] as const)
    test(`${title} ends a link to a copy of an agent`, async () => {
      const [first, second] = [playedSocket(), playedSocket()]
      const original = new AgentLink(first as Socket)
      first.push(hello(1))
      await original.take('hello', 1_000)
      const copy = AgentLink.reconnect(second as Socket, original.history)
      second.push(bytes())
      await assert.rejects(copy.take('hello', 1_000), /differs from that of the template/)
      original.close()
    })
})

const playedSocket = () =>
  new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })

async function greeted() {
  const socket = playedSocket()
  const link = new AgentLink(socket as Socket)
  const greeting = link.take('hello', 1_000)
  socket.push(encodeFrame(kinds.hello, Buffer.from([1, 0, 0, 1, 0, 0])))
  await greeting
  return { socket, link }
}

function hello(inputBytes: number): Buffer {
  const payload = Buffer.from([1, 0, 0, 0, 0, 0])
  payload.writeUInt32LE(inputBytes, 1)
  return Buffer.from(encodeFrame(kinds.hello, payload))
}

function refused(kind: number, about: number): Buffer {
  return encodeFrame(kinds.refused, Buffer.from([1, kind, about, 0, 0, 0, 0, 2, 0]))
}

function statused(nonce: number): Uint8Array {
  const payload = Buffer.alloc(44)
  payload[0] = 1
  payload.writeUInt32LE(nonce, 1)
  return encodeFrame(kinds.statused, payload)
}
