import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mock, test } from 'node:test'
import type { AgentLink } from './agent-link.ts'
import { claimAgent } from './make-unique.ts'

const bootId = Buffer.alloc(16)

/** Renewals after a claim by an agent whose answers take these milliseconds each. */
async function renewalsOf(roundTrips: readonly number[]): Promise<number> {
  let [now, renewals] = [0, 0]
  const nowNs = () => BigInt(1_000 + now) * 1_000_000n
  let seed = new Uint8Array()
  const answer = () => (now += roundTrips[renewals] ?? 0)
  const agent = {
    send(message: { seed: Uint8Array; timeNs: bigint }) {
      assert.equal(message.timeNs, nowNs())
      seed = Uint8Array.from(message.seed)
    },
    async take() {
      answer()
      const digest = createHash('sha256').update(seed).update(bootId).digest()
      return { kind: 'claimed', bootId, digest, steps: {} }
    },
    async ask({ kind, timeNs }: { kind: string; timeNs: bigint }) {
      assert.deepEqual([kind, timeNs], ['renew', nowNs()])
      renewals++
      answer()
      return { steps: {} }
    },
  } as unknown as AgentLink
  const clocks = [
    mock.method(performance, 'now', () => now),
    mock.method(Date, 'now', () => 1_000 + now),
  ]
  try {
    await claimAgent(agent, { id: 'g', hostname: 'g', limits: {}, labels: {} }, 60_000)
  } finally {
    for (const clock of clocks) clock.mock.restore()
  }
  return renewals
}

test('A guest whose claim took long gets the time again, until a round trip is short, and not for ever', async () => {
  assert.equal(await renewalsOf([5]), 0)
  assert.equal(await renewalsOf([3000, 5]), 1)
  assert.equal(await renewalsOf([3000, 3000, 5]), 2)
  assert.equal(await renewalsOf([3000, 3000, 3000, 3000]), 2)
})
