import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { suite, test } from 'node:test'
import { encodeFrame } from '../../../lib/frames.ts'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import { wasEndedInside, type MachineJob } from './bounds.ts'

const MEMORY = 2 ** 26
const kinds = { hello: 65, statused: 75 }

suite('An end for memory by the word of a guest', () => {
  test('Counts with as much growth as half of its limit, and not with less, nor without a kill', async () => {
    assert.equal(await played({ kills: 1, grew: MEMORY / 2 }), true)
    assert.equal(await played({ kills: 1, grew: MEMORY / 2 - 1 }), false)
    assert.equal(await played({ kills: 0, grew: MEMORY }), false)
  })

  test('Does not count where the guest has no such limit, or does not answer', async () => {
    assert.equal(await played({ kills: 1, grew: MEMORY, isHeldInside: false }), false)
    assert.equal(await played({ kills: undefined, grew: MEMORY }), false)
  })
})

/** An agent that tells of so many kills, or ends when it is asked; a machine that grew by so many bytes. */
async function played({
  kills,
  grew,
  isHeldInside = true,
}: {
  readonly kills: number | undefined
  readonly grew: number
  readonly isHeldInside?: boolean
}): Promise<boolean> {
  const socket = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      if (kills === undefined) socket.destroy()
      else socket.push(statused(chunk.readUInt32LE(6), kills))
      done()
    },
  })
  const agent = new AgentLink(socket as Socket)
  const hello = agent.take('hello', 1_000)
  socket.push(encodeFrame(kinds.hello, Buffer.from([1, 0, 0, 1, 0, 0])))
  await hello
  const process = { memory: () => 1_000 + grew }
  const job = {
    machine: { agent, process },
    isHeldInside,
    held: { memory: MEMORY },
    bytesAtClaim: 1_000,
    bytesSeen: 1_000,
  } as unknown as MachineJob
  const was = await wasEndedInside(job)
  agent.close()
  return was
}

function statused(nonce: number, kills: number): Uint8Array {
  const payload = Buffer.alloc(44)
  payload[0] = 1
  payload.writeUInt32LE(nonce, 1)
  payload.writeUInt32LE(kills, 9)
  return encodeFrame(kinds.statused, payload)
}
