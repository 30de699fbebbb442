import { MayflyError, messageOf } from '../../contract/error.ts'
import type { Voice } from '../../contract/event.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { newId } from '../../lib/id.ts'
import type { Profile } from '../../contract/profile.ts'
import type { WallHandle } from '../../warden/handle.ts'
import type { WardenClient } from '../../warden/client.ts'
import { probe } from './detect.ts'
import { IsolateSandbox, tightens } from './sandbox.ts'
import { createShelf, probeTenant, type Shelf } from '../../warden/shelf.ts'

export interface IsolateOptions {
  readonly warden: WardenClient
  readonly voice: Voice
  /** Isolates kept ready in each worker. */
  readonly spares: number
  readonly wallsMax: number
  /** Whether a worker that is bound to nobody is always kept; true unless given. */
  readonly keepReady?: boolean
}

/** Spares are made with this limit; a job that asks for another gets an isolate made on its own time. */
export const spareMiB = 128
/** The outside deadline leaves the isolate's own timeout, and the supervisor's, the first word. */
const DEADLINE_SLACK_MS = 150

/** V8 isolates in jailed, disposable worker processes: strength 1, in about a quarter of a millisecond. */
export function createIsolateProvider(options: IsolateOptions): Provider {
  const { warden, voice } = options
  const workers = createShelf({ keepReady: true, ...options, program: 'isolated-vm', spareMiB })
  let proved: Promise<Availability> | undefined
  const provider: Provider = {
    name: 'isolated-vm',
    tier: 'isolate',
    languages: ['js', 'ts'],
    enforces: ['network', 'files', 'cpu', 'memory', 'io', 'processes', 'syscalls', 'capabilities'],
    tightens,
    can: ['files', 'modules'],
    detect() {
      proved ??= probe(provider, workers).catch((error: unknown) => unavailable(error))
      return proved
    },
    async launch(profile) {
      const { worker, pool } = await claim(workers, warden, profile)
      const give = (handle: WallHandle) => workers.give(handle)
      return new IsolateSandbox(newId('sbx'), { profile, worker, warden, voice, pool, give })
    },
    close: () => workers.close(),
  }
  return provider
}

/** A worker that holds the job's memory and deadline; one that kept too much of earlier jobs gives way to another. */
async function claim(workers: Shelf, warden: WardenClient, profile: Profile) {
  for (;;) {
    const { wall: worker, pool } = await workers.take(profile.tenant)
    if (await isHeld(worker, warden, profile)) return { worker, pool }
    void worker.kill()
  }
}

/** Waits for the warden's yes; a worker that is held to the same memory already only needs the new deadline. */
async function isHeld(
  worker: WallHandle,
  warden: WardenClient,
  profile: Profile,
): Promise<boolean> {
  const { memory } = profile.controls
  const lifeMs = profile.schedule.phases.reduce((sum, phase) => sum + phase.for, 0)
  const deadline = Math.min(lifeMs, profile.limits.timeout) + DEADLINE_SLACK_MS
  if (worker.heldTo === memory) {
    warden.arm(worker.wall.id, deadline)
    return true
  }
  const tenant = worker.tenant ?? probeTenant
  const { spent } = await warden
    .claim(worker.wall.id, { tenant, memory, deadline })
    .catch((error: unknown) => {
      void worker.kill()
      throw error
    })
  worker.heldTo = memory
  return !spent
}

function unavailable(error: unknown): Availability {
  const code = error instanceof MayflyError ? error.code : 'UNAVAILABLE'
  const fix =
    (error instanceof MayflyError && error.hint) ||
    'Run mayfly doctor to see what this machine refuses'
  return { available: false, code, reason: messageOf(error), fix }
}
