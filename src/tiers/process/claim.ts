import type { Server } from 'node:net'
import { unlimited } from '../../contract/controls.ts'
import { MayflyError } from '../../contract/error.ts'
import type { Profile } from '../../contract/profile.ts'
import type { WardenClient } from '../../warden/client.ts'
import type { WallHandle } from '../../warden/handle.ts'
import type { HeldBy } from '../../warden/protocol.ts'
import { probeTenant } from '../../warden/shelf.ts'
import type { Rack } from './rack.ts'

/** The outside deadline leaves the supervisor's the first word. */
const DEADLINE_SLACK_MS = 250
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

function wantedOf({ controls, schedule, limits, tenant }: Profile) {
  const lifeMs = schedule.phases.reduce((sum, phase) => sum + phase.for, 0)
  return {
    tenant: tenant || probeTenant,
    memory: controls.memory,
    deadline: Math.ceil(Math.min(lifeMs, limits.timeout)) + DEADLINE_SLACK_MS,
    ...bounded({ cpu: controls.cpu, io: controls.io, processes: controls.processes }),
    egress: controls.network.allow.length > 0,
  }
}

/** What is unlimited is no bound to set. */
function bounded<K extends string>(values: Readonly<Record<K, number>>): { [k in K]?: number } {
  const entries = Object.entries<number>(values).filter(([, value]) => value < unlimited)
  return Object.fromEntries(entries) as { [k in K]?: number }
}
