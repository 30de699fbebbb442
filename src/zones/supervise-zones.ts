import type { Clock } from '../contract/clock.ts'
import type { TimelineListener, TimelineEntry } from '../contract/event.ts'
import type { Sandbox } from '../contract/provider.ts'
import type { Supervisor } from '../contract/pipeline.ts'
import type { PastCalls, ProgramZoneMade, ZonesMade } from '../contract/zones.ts'
import { summarizeZones } from './choose-zones.ts'
import { ProgramZoneLog } from './program-zone-log.ts'
import { ZonedSandbox } from './zoned-sandbox.ts'

export interface ZoneSupervisorParts {
  readonly sandbox: Sandbox
  readonly clock: Clock
  readonly on?: TimelineListener | undefined
  /** Receives the capabilities called by each zone, after a run that ended with status ok. */
  readonly learn?: ((run: string, called: PastCalls) => void) | undefined
}

/**
 * Wraps a supervisor: zones get lives of their own as they begin, and refused or revoked channels are added to the
 * timeline. `make` receives the timeline listener.
 */
export function superviseZones(
  { sandbox, clock, on, learn }: ZoneSupervisorParts,
  make: (on: TimelineListener) => Supervisor,
): Supervisor {
  if (!sandbox.listen) return make((entry, isKept) => on?.(entry, isKept))
  const programs = new ProgramZoneLog()
  const why = new Map<string, string>()
  const channels: TimelineEntry[] = []
  let released: number | undefined

  /** Adds the reason to the entry of a zone that is gone. */
  const withWhy = (entry: TimelineEntry): TimelineEntry => {
    const reason = entry.event === 'zone' && entry.reason === 'gone' && why.get(entry.zone)
    return reason ? { ...entry, reason } : entry
  }
  const supervisor = make((entry, isKept) => {
    released ??= clock.now() - entry.at
    const told = withWhy(entry)
    programs.record(told)
    on?.(told, isKept)
  })

  sandbox.listen({
    began(zone, kind, about) {
      if (about) programs.began(zone, kind, about)
      supervisor.zone(zone, kind, about)
    },
    gone(zone, reason, about) {
      why.set(zone, reason)
      if (about) programs.gone(zone, reason, about)
      supervisor.gone(zone)
    },
    channel({ from, to, what, why: reason }) {
      if (released === undefined) return
      const at = Math.max(0, clock.now() - released)
      const entry = { at, zone: from, event: 'channel', reason, fields: { to, what } } as const
      channels.push(entry)
      on?.(entry, true)
    },
  })
  return {
    async run(task, io) {
      const supervised = await supervisor.run(task, io)
      const timeline = mergeTimelines(supervised.timeline.map(withWhy), channels)
      const made = zonesIn(sandbox, programs.summary())
      if (sandbox instanceof ZonedSandbox && supervised.end.status === 'ok')
        learn?.(task.run, sandbox.called)
      return { ...supervised, timeline, ...(made && { zones: made }) }
    },
    tighten: (to, by) => supervisor.tighten(to, by),
    terminate: (by) => supervisor.terminate(by),
    zone: (zone, kind, about) => supervisor.zone(zone, kind, about),
    gone: (zone) => supervisor.gone(zone),
    notice: (event) => supervisor.notice(event),
    get isOver() {
      return supervisor.isOver
    },
    [Symbol.asyncDispose]: () => supervisor[Symbol.asyncDispose](),
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
