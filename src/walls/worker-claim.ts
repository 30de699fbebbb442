import { MayflyError, messageOf } from '../contract/error.ts'
import { lengthOf } from '../contract/phase.ts'
import type { Profile } from '../contract/profile.ts'
import type { Availability } from '../contract/provider.ts'
import type { WardenClient } from './client.ts'
import type { WallHandle } from './handle.ts'
import { deadlineFor } from './worker-deadline.ts'
import { probeTenant, type WorkerSpares } from './worker-spares.ts'

/** Claims a worker with the job's memory bound and deadline; replaces a spent one. */
export async function claimWorker(
  workers: WorkerSpares,
  warden: WardenClient,
  profile: Profile,
): Promise<{ readonly wall: WallHandle; readonly pool: 'hit' | 'miss' }> {
  for (;;) {
    const { wall, pool } = await workers.take(profile.tenant)
    if (await hasBounds(wall, warden, boundsOf(profile))) return { wall, pool }
    void wall.kill()
  }
}

/** Bounds of a job in a worker: bytes above its idle size, and lifetime in milliseconds. */
export interface WorkerBounds {
  readonly memory: number
  readonly lifeMs: number
}

/** Claims a wall; false for a spent one. A wall whose last claim had the same memory bound only gets a new deadline. */
export async function hasBounds(
  worker: WallHandle,
  warden: WardenClient,
  to: WorkerBounds,
): Promise<boolean> {
  if (worker.memoryBound === to.memory && worker.deadline.begin(to.lifeMs)) return true
  return await claimFully(worker, warden, to)
}

/** Claims a wall by a request, which also resets its usage; false for a spent or ended one, which the caller replaces. */
export async function claimFully(
  worker: WallHandle,
  warden: WardenClient,
  { memory, lifeMs }: WorkerBounds,
): Promise<boolean> {
  const sentAt = performance.now()
  const to = { tenant: worker.tenant ?? probeTenant, memory, deadline: deadlineFor(lifeMs) }
  const { spent } = await warden.claim(worker.wall.id, to).catch((error: unknown) => {
    void worker.kill()
    // NOT_FOUND: it ended as a spare. No code of the job ran in it, so another one can take its place.
    if (error instanceof MayflyError && error.code === 'NOT_FOUND') return { spent: true }
    throw error
  })
  worker.memoryBound = memory
  worker.deadline.claimed(lifeMs, sentAt)
  return !spent
}

export function boundsOf({ controls, schedule, limits }: Profile): WorkerBounds {
  const lifeMs = Math.min(lengthOf(schedule.phases), limits.timeout)
  return { memory: controls.memory, lifeMs }
}

/** Attempts of a proof: on a busy machine a start may fail by chance. */
const PROOF_ATTEMPTS = 2

/** `detect` of a provider: the result of its proof, which is run once, and again for a call after a refusal. */
export function detectBy(
  prove: () => Promise<Availability>,
  attempts = PROOF_ATTEMPTS,
): () => Promise<Availability> {
  let proved: Promise<Availability> | undefined
  return () => {
    proved ??= proveWithRetry(prove, attempts).then((availability) => {
      if (!availability.available) proved = undefined
      return availability
    })
    return proved
  }
}

/** Runs a proof until it succeeds, at most `attempts` times, and returns the availability. */
async function proveWithRetry(
  prove: () => Promise<Availability>,
  attempts: number,
): Promise<Availability> {
  for (let tries = 1; ; tries++) {
    try {
      return await prove()
    } catch (error) {
      if (tries === attempts) return unavailable(error)
    }
  }
}

/** Availability after a probe that failed. */
export function unavailable(error: unknown): Availability {
  const code = error instanceof MayflyError ? error.code : 'UNAVAILABLE'
  const hint = error instanceof MayflyError ? error.hint : undefined
  const reason = messageOf(error)
  return { available: false, code, reason, fix: hint || fixOf(reason) }
}

/** Fix by the message of the program that could not make the wall. */
function fixOf(reason: string): string {
  if (reason.includes("yarn's Plug'n'Play"))
    return 'Set "nodeLinker: node-modules" in .yarnrc.yml, and run "yarn install"'
  if (/mount proc\b/.test(reason))
    return 'Start the container without masked paths below /proc, such as with --security-opt systempaths=unconfined'
  if (/\bunshare failed|\bcreat(?:e|ing) new namespace/i.test(reason))
    return 'Allow namespaces (user.max_*_namespaces, AppArmor, seccomp): "mayfly setup" and docs/how-to/docker.md say how'
  return 'Compare with the facts of this machine, which "mayfly doctor" lists'
}
