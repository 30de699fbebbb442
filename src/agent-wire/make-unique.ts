import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:os'
import { MayflyError } from '../contract/error.ts'
import type { AgentLink } from './agent-link.ts'
import type { AgentMessageOf } from './decode.ts'
import type { HostMessageOf } from './encode.ts'

/**
 * Requests that make a guest unique (claim, renewal): they carry 64 random bytes and the time of this host. A guest may be used
 * only if they succeed; otherwise they throw MayflyError PROTOCOL, and the caller kills the guest.
 *
 * A compromised agent could send false answers, but a guest runs no code of a job before its claim.
 */
export type GuestClaim = Pick<HostMessageOf<'claim'>, 'id' | 'hostname' | 'limits' | 'labels'> &
  Partial<Pick<HostMessageOf<'claim'>, 'memory'>>

const SEED_BYTES = 64
const NS_PER_MS = 1_000_000n
/** A guest is behind by the way of the message: after a longer round trip the time is sent again, up to so many times. */
const ROUND_TRIP_MS_MAX = 100
const AGAIN_MAX = 2

/**
 * Claims a guest. Checks that the answer has the digest of this seed, and that each step succeeded; the memory limit may be
 * missing if the guest's kernel has none.
 */
export async function claimAgent(
  agent: AgentLink,
  claim: GuestClaim,
  msMax: number,
): Promise<AgentMessageOf<'claimed'>> {
  const seed = randomBytes(SEED_BYTES)
  const sentAt = performance.now()
  try {
    agent.send({ kind: 'claim', memory: undefined, ...claim, seed, timeNs: timeNs() })
    const answer = await agent.take(['claimed', 'refused'], msMax, isOfClaim)
    if (answer.kind === 'refused') throw unfit('it refused the claim')
    const digest = createHash('sha256').update(seed).update(answer.bootId).digest()
    if (!digest.equals(answer.digest)) throw unfit('its answer has the digest of another seed')
    const { memory, ...others } = answer.steps
    assertDone(memory === constants.errno.ENOSYS ? others : answer.steps)
    await setClockAnew(agent, sentAt, msMax)
    return answer
  } finally {
    seed.fill(0)
  }
}

/** Renews seed and clock after a pause; before the claim also warms up the other steps of a claim. */
export async function renewAgent(agent: AgentLink, msMax: number): Promise<void> {
  const seed = randomBytes(SEED_BYTES)
  try {
    const { steps } = await agent.ask({ kind: 'renew', seed, timeNs: timeNs() }, msMax)
    assertDone(steps)
  } finally {
    seed.fill(0)
  }
}

async function setClockAnew(agent: AgentLink, sentAt: number, msMax: number): Promise<void> {
  for (
    let tries = 0;
    tries < AGAIN_MAX && performance.now() - sentAt > ROUND_TRIP_MS_MAX;
    tries++
  ) {
    sentAt = performance.now()
    await renewAgent(agent, msMax)
  }
}

const isOfClaim = (one: { readonly kind: string; readonly what?: string }) =>
  one.kind !== 'refused' || one.what === 'claim'

function timeNs(): bigint {
  return BigInt(Date.now()) * NS_PER_MS
}

function assertDone(steps: Readonly<Record<string, number>>): void {
  const refused = Object.entries(steps).filter(([, errno]) => errno !== 0)
  if (refused.length === 0) return
  const list = refused.map(([step, errno]) => `${step} (errno ${errno})`).join(', ')
  throw unfit(`its kernel refused ${list}`)
}

function unfit(why: string): MayflyError {
  return new MayflyError('PROTOCOL', `Cannot use a guest: ${why}`)
}
