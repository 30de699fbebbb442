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
})

function statused(nonce: number): Uint8Array {
  const payload = Buffer.alloc(27)
  payload[0] = 1
  payload.writeUInt32LE(nonce, 1)
  return encodeFrame(kinds.statused, payload)
}
