import type { LaunchHints } from '../contract/provider.ts'
import type { Server } from 'node:net'
import { grantsNetwork, unlimited, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import { lengthOf } from '../contract/phase.ts'
import type { Profile } from '../contract/profile.ts'
import { releaseMsMaxOf } from '../contract/tier.ts'
import type { WardenClient } from './client.ts'
import type { SandboxParts } from './guest-life.ts'
import type { WallHandle } from './handle.ts'
import type { BoundMechanisms } from '../contract/warden.ts'
import { probeTenant } from './worker-spares.ts'
import { callsFor } from './sentinel-calls.ts'
import type { ZoneBounds, ZoneRule } from '../contract/zone-rules.ts'
import { isCell, type ProgramSpares } from './program-spares.ts'

/** Slack of the warden's deadline, so that the supervisor's fires first. */
const DEADLINE_SLACK_MS = 40
/** Time for a busy server to request the freeze for a capture at the end, which has a deadline of its own. */
const HOLD_LATE_MS_MAX = 1000
/** Attempts to claim: a spare may have died while it waited, but not several in a row. */
const TRIES_MAX = 3

export interface ClaimedProgram {
  readonly wall: WallHandle
  readonly pool: 'hit' | 'miss'
  /** Mechanism that enforces each bound, read back from the kernel. */
  readonly held: BoundMechanisms
  /** Egress listener inside the wall, if the job was granted a network. */
  readonly listener: Server | undefined
}

/** Claims a parked wall for this profile. Kills the wall before it rejects with the error of its start or claim. */
export async function claimProgram(
  spares: ProgramSpares,
  warden: WardenClient,
  profile: Profile,
  hints?: LaunchHints,
): Promise<ClaimedProgram> {
  for (let tries = 1; ; tries++) {
    const { wall, pool } = await spares.take(wallFor(profile), hints)
    try {
      const claimed = await claimWall(wall, warden, profile, hints)
      if (claimed) return { wall, pool, ...claimed }
      void wall.kill()
    } catch (error) {
      void wall.kill()
      // `PROTOCOL`: its agent or runner is gone, and nothing of the job was sent.
      const isGone = error instanceof MayflyError && gone.has(error.code)
      if (!isGone || tries === TRIES_MAX) throw error
    }
    if (tries === TRIES_MAX)
      throw new MayflyError('UNAVAILABLE', 'Cannot claim a wall: each was spent before it was used')
  }
}

const gone: ReadonlySet<string> = new Set(['NOT_FOUND', 'PROTOCOL'])

/** Claims one wall; undefined if it is spent. Rejects with the error of its claim; the caller kills it then. */
export async function claimWall(
  wall: WallHandle,
  warden: WardenClient,
  profile: Profile,
  hints?: LaunchHints,
): Promise<Omit<ClaimedProgram, 'wall' | 'pool'> | undefined> {
  assertStreams(wall, profile)
  const claim = await warden.claim(wall.wall.id, {
    ...wantedOf(profile),
    ...(hints?.isShort && { isShort: true }),
    ...(hints?.isBehind && { isBehind: true }),
  })
  if (claim.spent) return undefined
  const isGranted = grantsNetwork(profile.controls.network)
  const listener = claim.listener ?? (isGranted ? wall.openEgress?.() : undefined)
  return { held: claim.enforced, listener }
}

/** Claims a forked wall. Rejects with MayflyError UNAVAILABLE if it has ended, and with the error of its claim. */
export async function claimForked(
  wall: WallHandle,
  warden: WardenClient,
  profile: Profile,
): Promise<Omit<ClaimedProgram, 'wall' | 'pool'>> {
  const claimed = await claimWall(wall, warden, profile).catch((error: unknown) => {
    if (error instanceof MayflyError && error.code === 'NOT_FOUND') return undefined
    throw error
  })
  if (claimed) return claimed
  throw new MayflyError('UNAVAILABLE', 'Cannot claim a forked wall: it has ended')
}

/** Throws MayflyError PROTOCOL if a program came without sockets for its output; an isolate writes in frames. */
function assertStreams({ wall, streams }: WallHandle, { language }: Profile): void {
  if (streams || isCell(language)) return
  throw new MayflyError('PROTOCOL', `Cannot use wall "${wall.id}": its output sockets are missing`)
}

function wallFor(profile: Profile) {
  const { language, limits, packages, image } = profile
  const [, digest] = /^sha256:([0-9a-f]{64})$/.exec(image) ?? []
  return { language, disk: limits.disk, calls: callsFor(profile), layers: packages, image: digest }
}

/**
 * Called at the release: returns what moves the warden's deadline to that of a life that begins now, since the claim's left time
 * for the release.
 */
export function lifeArmer({
  wall,
  warden,
  profile,
}: Pick<SandboxParts, 'wall' | 'warden' | 'profile'>): () => void {
  const releasedAt = performance.now()
  return () => {
    const ranMs = performance.now() - releasedAt
    const leftMs = Math.max(1, Math.ceil(deadlineOf(profile) - ranMs))
    warden.arm(wall.wall.id, leftMs, Math.round(ranMs))
  }
}

/** Milliseconds from the release after which the warden ends the wall, in case the supervisor does not. */
function deadlineOf(profile: Pick<Profile, 'schedule' | 'limits' | 'capture'>): number {
  return lifeMsOf(profile) + DEADLINE_SLACK_MS + (profile.capture ? HOLD_LATE_MS_MAX : 0)
}

function lifeMsOf({ schedule, limits }: Pick<Profile, 'schedule' | 'limits'>): number {
  return Math.ceil(Math.min(lengthOf(schedule.phases), limits.timeout))
}

function wantedOf(profile: Profile) {
  const { controls, schedule, limits, tenant, tier } = profile
  const zones = programZones(profile)
  return {
    ...(zones.length > 0 && { zones }),
    tenant: tenant || probeTenant,
    memory: controls.memory,
    deadline: lifeMsOf({ schedule, limits }) + releaseMsMaxOf(tier),
    ...bounded({ cpu: controls.cpu, io: controls.io, processes: controls.processes }),
    egress: grantsNetwork(controls.network),
  }
}

/** Rules of program zones, with their initial bounds; none for an isolate, which executes no program. */
function programZones({ language, schedule, controls }: Profile): readonly ZoneRule[] {
  if (isCell(language)) return []
  return Object.entries(schedule.zones ?? {}).flatMap(([kind, { programs, phases }]) => {
    if (!programs) return []
    const life = Math.ceil(lengthOf(phases))
    return [{ kind, programs, life, ...boundsWithin(phases[0]!.controls, controls) }]
  })
}

/** Bounds that are lower for a zone than for the whole wall. */
export function boundsWithin(zone: Controls, whole: Controls): ZoneBounds {
  const names = (['memory', 'cpu', 'processes'] as const).filter((name) => zone[name] < whole[name])
  return Object.fromEntries(names.map((name) => [name, zone[name]]))
}

/** Drops bounds that are unlimited. */
function bounded<K extends string>(values: Readonly<Record<K, number>>): { [k in K]?: number } {
  const entries = Object.entries<number>(values).filter(([, value]) => value < unlimited)
  return Object.fromEntries(entries) as { [k in K]?: number }
}
