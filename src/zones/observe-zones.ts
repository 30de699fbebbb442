import type { Clock } from '../contract/clock.ts'
import type { TimelineEntry } from '../contract/event.ts'
import type { Sandbox } from '../contract/provider.ts'
import type { Schedule } from '../contract/phase.ts'
import type { LifeHandle, LifeObserver } from '../contract/pipeline.ts'
import type { PastCalls, ProgramZoneMade, ZonesMade } from '../contract/zones.ts'
import { summarizeZones } from './choose-zones.ts'
import { ProgramZoneLog } from './program-zone-log.ts'
import { unheldPolicies } from './unenforced-policy.ts'
import { ZonedSandbox } from './zoned-sandbox.ts'

export interface ZoneObserverParts {
  readonly sandbox: Sandbox
  readonly clock: Clock
  readonly schedule: Pick<Schedule, 'zones' | 'phases'>
  /** Receives the capabilities called by each zone, after a run that ended with status ok. */
  readonly learn?: ((run: string, called: PastCalls) => void) | undefined
}

/**
 * Observes a life in zones: they get lives of their own as they begin, and refused or revoked channels are added to the
 * timeline. Policies of functions are reported as not held by a wall without zones of functions.
 */
export function observeZones({ sandbox, clock, schedule, learn }: ZoneObserverParts): LifeObserver {
  if (!sandbox.listen) return unheldIn(schedule)
  const programs = new ProgramZoneLog()
  const why = new Map<string, string>()
  const channels: TimelineEntry[] = []
  let released: number | undefined
  let run = ''

  /** Adds the reason to the entry of a zone that is gone. */
  const withWhy = (entry: TimelineEntry): TimelineEntry => {
    const reason = entry.event === 'zone' && entry.reason === 'gone' && why.get(entry.zone)
    return reason ? { ...entry, reason } : entry
  }

  const unheld = sandbox instanceof ZonedSandbox ? {} : unheldIn(schedule)
  return {
    attach(life, emit) {
      unheld.attach?.(life, emit)
      sandbox.listen!({
        began(zone, kind, about) {
          if (about) programs.began(zone, kind, about)
          life.zone(zone, kind, about)
        },
        gone(zone, reason, about) {
          why.set(zone, reason)
          if (about) programs.gone(zone, reason, about)
          life.gone(zone)
        },
        lost: (zone, reason) => life.lost(zone, reason),
        unheld: (policy) => life.unheld(policy),
        channel({ from, to, what, why: reason }) {
          if (released === undefined) return
          const at = Math.max(0, clock.now() - released)
          const entry = { at, zone: from, event: 'channel', reason, fields: { to, what } } as const
          channels.push(entry)
          emit(entry, true)
        },
      })
    },
    begin(task, io) {
      run = task.run
      return unheld.begin?.(task, io)
    },
    entry(entry) {
      released ??= clock.now() - entry.at
      const withReason = withWhy(entry)
      programs.record(withReason)
      return withReason
    },
    end(supervised) {
      const timeline = mergeTimelines(supervised.timeline.map(withWhy), channels)
      const made = zonesIn(sandbox, programs.summary())
      if (sandbox instanceof ZonedSandbox && supervised.end.status === 'ok')
        learn?.(run, sandbox.called)
      return { ...supervised, timeline, ...(made && { zones: made }) }
    },
  }
}

function unheldIn(schedule: ZoneObserverParts['schedule']): Pick<LifeObserver, 'attach' | 'begin'> {
  const policies = unheldPolicies(undefined, schedule)
  if (policies.length === 0) return {}
  let held: LifeHandle | undefined
  return {
    attach(life) {
      held = life
    },
    begin() {
      for (const policy of policies) held?.unheld(policy)
      return undefined
    },
  }
}

function zonesIn(
  sandbox: Sandbox,
  programs: readonly ProgramZoneMade[] | undefined,
): ZonesMade | undefined {
  const { split } = sandbox instanceof ZonedSandbox ? sandbox : {}
  const made = split && summarizeZones(split, (zone) => (sandbox as ZonedSandbox).callersOf(zone))
  if (!programs) return made
  return { made: [], residual: [], ...made, programs }
}

/** Timeline in order of time, between its first phase and its end. */
function mergeTimelines(
  timeline: readonly TimelineEntry[],
  channels: readonly TimelineEntry[],
): readonly TimelineEntry[] {
  const [first, ...rest] = timeline
  if (!first || channels.length === 0) return timeline
  const last = rest.at(-1)?.event === 'terminated' ? rest.splice(-1) : []
  const inside = [...rest, ...channels].sort((a, b) => a.at - b.at)
  return [first, ...inside, ...last]
}
