import { systemClock } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import { strengthOf } from '../contract/tier.ts'
import { newJob } from '../job.ts'
import type { ProviderFacts } from '../profile/choose-tier.ts'
import { makePlan } from '../profile/make-profile.ts'
import { surfaceBeyond, surfaceOf, type Surface } from '../profile/surface.ts'
import { wallCalls } from '../profile/wall-calls.ts'
import { unparsedVerdict } from '../threat/signed.ts'
import { surfaceText } from './surface-text.ts'

/** Walls whose filters are known statically. */
export const surfaceWalls = ['isolate', 'process'] as const

export interface SurfaceQuery {
  readonly schedule?: string
  readonly wall?: (typeof surfaceWalls)[number]
  readonly allow?: readonly string[]
  /** False: a wall without a sentinel. */
  readonly sentinel?: boolean
}

export interface SurfaceReport {
  readonly schedule: string
  readonly wall: string
  readonly sentinel: boolean
  readonly phases: readonly Surface[]
  /** Phases of zones with their own schedule, by kind. */
  readonly zones: Readonly<Record<string, readonly Surface[]>>
  /** Rights gained from one phase to the next: must be empty. */
  readonly grows: readonly string[]
}

/**
 * Computes what a job of the first tenant can reach in each phase, by its grants and its wall's filters. Throws
 * MayflyError USAGE for an unknown schedule or an invalid host.
 */
export function surfaceReport(config: Config, asked: SurfaceQuery): SurfaceReport {
  const { wall = 'process', sentinel = true } = asked
  return surfaceReportOf(profileFor(config, asked), wall, wall === 'process' && sentinel)
}

/** Same report for a given profile. */
export function surfaceReportOf(
  { schedule, controls }: Pick<Profile, 'schedule' | 'controls'>,
  wall: (typeof surfaceWalls)[number],
  sentinel: boolean,
): SurfaceReport {
  const calls = wallCalls(wall, sentinel)
  const phases = surfaceOf(controls, schedule, calls)
  const zones = Object.fromEntries(
    Object.entries(schedule.zones ?? {}).map(([kind, zone]) => [
      kind,
      surfaceOf(controls, zone, calls),
    ]),
  )
  const courses = [phases, ...Object.values(zones)]
  const grows = courses.flatMap((course) =>
    course.slice(1).flatMap((next, place) => surfaceBeyond(next, course[place]!)),
  )
  return { schedule: schedule.name, wall, sentinel, phases, zones, grows }
}

export function reportText({
  schedule,
  wall,
  sentinel,
  phases,
  zones,
  grows,
}: SurfaceReport): string {
  const by =
    wall === 'isolate' ? 'an isolate' : `a process ${sentinel ? 'with' : 'without'} a sentinel`
  const parts = [
    `Reachable with schedule "${schedule}" behind the wall of ${by}`,
    surfaceText(phases),
    ...Object.entries(zones).map(([kind, one]) => `zone ${kind}\n${surfaceText(one)}`),
    grows.length === 0
      ? 'No phase reaches more than the phase before it'
      : `GROWS: ${grows.join(', ')}`,
  ]
  return `${parts.join('\n\n')}\n`
}

function profileFor(config: Config, { schedule, wall = 'process', allow }: SurfaceQuery): Profile {
  const language = wall === 'isolate' ? 'js' : 'python'
  const request: JobRequest = {
    code: '',
    language,
    ...(schedule !== undefined && { schedule }),
    ...(allow && { network: { allow: [...allow] } }),
  }
  const caller = { tenant: config.tenants[0]!.name, principal: 'cli', origin: 'cli' } as const
  try {
    const job = newJob(request, caller, systemClock)
    const plan = makePlan(job, unparsedVerdict(job), { config, facts: [everything(wall)] })
    return plan.profile
  } catch (thrown) {
    if (!(thrown instanceof MayflyError) && !(thrown instanceof RangeError)) throw thrown
    throw new MayflyError('USAGE', messageOf(thrown), { cause: thrown })
  }
}

function everything(tier: (typeof surfaceWalls)[number]): ProviderFacts {
  return {
    name: tier,
    tier,
    strength: strengthOf[tier],
    available: true,
    languages: ['js', 'python'],
    can: ['network', 'calls', 'program-calls', 'folder-calls', 'folders', 'files'],
  }
}
