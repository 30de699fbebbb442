import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:os'
import type { AgentClaimed, AgentStatused } from './decode.ts'
import type { AgentClaim, AgentPhase } from './encode.ts'
import { MayflyError } from '../contract/error.ts'
import type { AgentLink } from './agent-link.ts'

/**
 * Questions to the agent of a guest whose answer decides whether the guest may be used: it is like no other after them. They
 * carry 64 bytes of this host's generator and its time. All of them throw MayflyError PROTOCOL: the caller ends the guest.
 *
 * A guest that took its agent over can answer as it likes. It has run nothing of a job before its claim.
 */
export type GuestClaim = Pick<AgentClaim, 'id' | 'hostname' | 'limits' | 'memory' | 'labels'>

const SEED_BYTES = 64
const NS_PER_MS = 1_000_000n

/**
 * Checks that the answer is made of this seed, and that each step was done; that of the memory may have been left out by a kernel
 * without such a limit.
 */
export async function claimAgent(
  agent: AgentLink,
  claim: GuestClaim,
  msMax: number,
): Promise<AgentClaimed> {
  const seed = randomBytes(SEED_BYTES)
  try {
    agent.send({ kind: 'claim', ...claim, seed, timeNs: timeNs() })
    const answer = await agent.take(['claimed', 'refused'], msMax, isOfClaim)
    if (answer.kind === 'refused') throw unfit('it refuses its claim')
    const digest = createHash('sha256').update(seed).update(answer.bootId).digest()
    if (!digest.equals(answer.digest)) throw unfit('it answers for another seed')
    const { memory, ...others } = answer.steps
    assertDone(memory === constants.errno.ENOSYS ? others : answer.steps)
    return answer
  } finally {
    seed.fill(0)
  }
}

/** Seed and clock after a standstill; before the claim, a rehearsal of it too. */
export async function renewAgent(agent: AgentLink, msMax: number): Promise<void> {
  const seed = randomBytes(SEED_BYTES)
  try {
    const { steps } = await agent.ask({ kind: 'renew', seed, timeNs: timeNs() }, msMax)
    assertDone(steps)
  } finally {
    seed.fill(0)
  }
}

/** Round trip to the agent's loop. Resolves with what it tells of its processes. */
export async function askStatus(agent: AgentLink, msMax: number): Promise<AgentStatused> {
  return await agent.ask({ kind: 'status' }, msMax)
}

/**
 * Has the programs of the job stand still, or go on. Throws MayflyError UNAVAILABLE where the guest's kernel does not; then they
 * go on.
 */
export async function holdJob(
  agent: Pick<AgentLink, 'ask'>,
  on: boolean,
  msMax: number,
): Promise<void> {
  const { errno } = await agent.ask({ kind: 'hold', on }, msMax)
  if (errno === 0) return
  throw new MayflyError('UNAVAILABLE', `Cannot hold the programs of a guest: errno ${errno}`)
}

/** Throws MayflyError UNAVAILABLE where the guest's kernel refuses it; resolves with the number of processes touched. */
export async function askPhase(
  agent: AgentLink,
  command: AgentPhase,
  msMax: number,
): Promise<number> {
  const { errno, touched } = await agent.ask({ kind: 'phase', command }, msMax)
  if (errno === 0) return touched
  const what = command.do.replaceAll('-', ' ')
  throw new MayflyError('UNAVAILABLE', `Cannot ${what} in a guest: errno ${errno}`)
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
  throw unfit(`its kernel refuses ${list}`)
}

function unfit(why: string): MayflyError {
  return new MayflyError('PROTOCOL', `Cannot use a guest: ${why}`)
}
