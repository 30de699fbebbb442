import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { encodeFrame } from '../../../lib/frames.ts'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { MachineJob } from './bounds.ts'
import { limitInside } from './limit-hit.ts'

const kinds = { hello: 65, statused: 75 }
/** Tasks of the runner, and a bound of 16 for its job. */
const ownTasks = 1
const processes = 16

interface Counts {
  readonly refused?: number
  readonly tasks?: number
  readonly peak?: number
  readonly full?: number
}

test('Counts of a guest are a limit once a task was refused, the bound was reached or the disk is full', async () => {
  assert.equal(await hitOf([{ tasks: 15, peak: 15 }]), undefined)
  assert.equal(await hitOf([{ refused: 1 }]), 'processes')
  assert.equal(await hitOf([{ tasks: 3, peak: 16 }]), 'processes')
  assert.equal(await hitOf([{ full: 1 }]), 'disk')
  assert.equal(await hitOf([{ refused: 1, peak: 16, full: 1 }], { mayFork: false }), 'disk')
  assert.equal(await hitOf([{ refused: 1 }], { held: undefined }), undefined)
})

test('Refusals before an exec of a session are none of its own, unless the bound is reached still', async () => {
  const seen = { refused: 4, peak: 16 }
  assert.equal(await hitOf([seen, seen]), undefined)
  assert.equal(await hitOf([seen, { ...seen, refused: 5 }]), 'processes')
  assert.equal(await hitOf([seen, { ...seen, tasks: 16 }]), 'processes')
})

test('A guest whose answer is not of the protocol, or is missing, has reached no limit, and its link ends', async () => {
  await assert.rejects(hitOf([{ full: 2 }]), { code: 'PROTOCOL' })
  await assert.rejects(hitOf([{ tasks: 2 ** 22 + 1 }]), { code: 'PROTOCOL' })
  await assert.rejects(hitOf([]), { code: 'PROTOCOL' })
})

/** Asks a played agent once for each answer, counting anew each time; the last limit. */
async function hitOf(
  answers: readonly Counts[],
  { mayFork = true, ...more }: { mayFork?: boolean; held?: undefined } = {},
) {
  const left = [...answers]
  const socket = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      const answer = left.shift()
      if (answer) socket.push(statused(chunk.readUInt32LE(6), answer))
      else socket.destroy()
      done()
    },
  })
  const agent = new AgentLink(socket as Socket)
  const hello = agent.take('hello', 1_000)
  socket.push(encodeFrame(kinds.hello, Buffer.from([1, 0, 0, 1, 0, 0])))
  await hello
  const held = { memory: 1, processes }
  const job = { machine: { agent }, ownTasks, held, tasksPeak: 0, tasksRefused: 0, ...more }
  try {
    let hit
    for (let n = 0; n < Math.max(1, answers.length); n++)
      hit = await limitInside(job as unknown as MachineJob, { countAnew: true, mayFork })
    return hit
  } finally {
    agent.close()
  }
}

function statused(nonce: number, { refused = 0, tasks = 0, peak = 0, full = 0 }: Counts) {
  const payload = Buffer.alloc(44)
  payload[0] = 1
  payload.writeUInt32LE(nonce, 1)
  payload.writeUInt32LE(refused, 25)
  payload.writeUInt32LE(tasks, 33)
  payload.writeUInt32LE(peak, 37)
  payload[41] = full
  return encodeFrame(kinds.statused, payload)
}
