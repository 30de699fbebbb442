import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { encodeFrame } from '../../../lib/frames.ts'
import { AgentLink } from './agent-link.ts'

const kinds = { hello: 65, statused: 75 }

suite('The connection to an agent', () => {
  test('Two answers of one chunk reach two callers, the second of which asks later', async () => {
    const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
    const link = new AgentLink(socket as Socket)
    const hello = link.take('hello', 1_000)
    socket.push(encodeFrame(kinds.hello, Buffer.from([1, 0, 0, 1, 0, 0])))
    await hello
    link.send({ kind: 'status', nonce: 1 })
    link.send({ kind: 'status', nonce: 2 })
    const first = link.take('statused', 1_000)
    socket.push(Buffer.concat([statused(1), statused(2)]))
    assert.equal((await first).nonce, 1)
    assert.equal((await link.take('statused', 1_000)).nonce, 2)
    link.close()
  })

  test('A link to a copy of an agent accepts its greeting, and goes on behind the conversation of the original', async () => {
    const [first, second] = [pair(), pair()]
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

  for (const [title, bytes] of [
    ['Another greeting', () => hello(2)],
    ['A message before the greeting', () => Buffer.from(statused(1))],
  ] as const)
    test(`${title} ends a link to a copy of an agent`, async () => {
      const [first, second] = [pair(), pair()]
      const original = new AgentLink(first as Socket)
      first.push(hello(1))
      await original.take('hello', 1_000)
      const copy = AgentLink.reconnect(second as Socket, original.history)
      second.push(bytes())
      await assert.rejects(copy.take('hello', 1_000), /greets as another agent/)
      original.close()
    })
})

const pair = () => new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })

function hello(inputBytes: number): Buffer {
  const payload = Buffer.from([1, 0, 0, 0, 0, 0])
  payload.writeUInt32LE(inputBytes, 1)
  return Buffer.from(encodeFrame(kinds.hello, payload))
}

function statused(nonce: number): Uint8Array {
  const payload = Buffer.alloc(27)
  payload[0] = 1
  payload.writeUInt32LE(nonce, 1)
  return encodeFrame(kinds.statused, payload)
}
