import type { Server } from 'node:net'
import { unlimited } from '../../contract/controls.ts'
import { MayflyError } from '../../contract/error.ts'
import type { Profile } from '../../contract/profile.ts'
import type { WardenClient } from '../../warden/client.ts'
import type { WallHandle } from '../../warden/handle.ts'
import type { HeldBy } from '../../warden/protocol.ts'
import { probeTenant } from '../../warden/shelf.ts'
import type { Rack } from './rack.ts'

/** Until user code is released its life has not begun: a wall that never releases it is ended after this. */
const RELEASE_MS_MAX = 5_000
/** The outside deadline leaves the supervisor's the first word. */
const DEADLINE_SLACK_MS = 40
/** Spares that died while they waited; more of them in a row is no accident. */
const TRIES_MAX = 3

export interface Claimed {
  readonly wall: WallHandle
  readonly pool: 'hit' | 'miss'
  /** What holds each control, read back from the kernel. */
  readonly held: HeldBy
  /** Where the program's way out ends, when it has one. */
  readonly listener: Server | undefined
}

/** A parked wall that is held to this profile. Throws what starting or claiming throws; nothing is left then. */
export async function claimProgram(
  rack: Rack,
  warden: WardenClient,
  profile: Profile,
): Promise<Claimed> {
  for (let tries = 1; ; tries++) {
    const { wall, pool } = await rack.take(profile.language, profile.limits.disk)
    try {
      const claim = await warden.claim(wall.wall.id, wantedOf(profile))
      if (!claim.spent) {
        const { enforced: held, listener } = claim
        return { wall, pool, held, listener }
      }
      void wall.kill()
    } catch (error) {
      void wall.kill()
      const isGone = error instanceof MayflyError && error.code === 'NOT_FOUND'
      if (!isGone || tries === TRIES_MAX) throw error
    }
    if (tries === TRIES_MAX)
      throw new MayflyError('UNAVAILABLE', 'Cannot claim a wall: each was spent before it was used')
  }
}

/** Milliseconds from the release of user code after which its wall is ended, also where nobody else does it. */
export function deadlineOf(profile: Pick<Profile, 'schedule' | 'limits'>): number {
  return lifeMsOf(profile) + DEADLINE_SLACK_MS
}

function lifeMsOf({ schedule, limits }: Pick<Profile, 'schedule' | 'limits'>): number {
  const all = schedule.phases.reduce((sum, phase) => sum + phase.for, 0)
  return Math.ceil(Math.min(all, limits.timeout))
}

function wantedOf({ controls, schedule, limits, tenant }: Profile) {
  return {
    tenant: tenant || probeTenant,
    memory: controls.memory,
    deadline: lifeMsOf({ schedule, limits }) + RELEASE_MS_MAX,
    ...bounded({ cpu: controls.cpu, io: controls.io, processes: controls.processes }),
    egress: controls.network.allow.length > 0,
  }
}

/** What is unlimited is no bound to set. */
function bounded<K extends string>(values: Readonly<Record<K, number>>): { [k in K]?: number } {
  const entries = Object.entries<number>(values).filter(([, value]) => value < unlimited)
  return Object.fromEntries(entries) as { [k in K]?: number }
}
