import type { Clock } from '../contract/clock.ts'
import type { TimelineListener, TimelineEntry } from '../contract/event.ts'
import type { Sandbox } from '../contract/provider.ts'
import type { Supervisor } from '../contract/pipeline.ts'
import type { PastCalls, ProgramZoneMade, ZonesMade } from '../contract/zones.ts'
import { madeOf } from './choose.ts'
import { ProgramStory } from './programs.ts'
import { ZonedSandbox } from './sandbox.ts'

export interface OverParts {
  readonly sandbox: Sandbox
  readonly clock: Clock
  readonly on?: TimelineListener | undefined
  /** Hears, of a run that ended well, what each zone called. */
  readonly learn?: ((run: string, called: PastCalls) => void) | undefined
}

/**
 * A supervisor that hears of its zones: each gets a life of its own as it begins, and what its channels refused or lost
 * stands in the timeline. `make` gets whom to tell of the timeline.
 */
export function overZones(
  { sandbox, clock, on, learn }: OverParts,
  make: (on: TimelineListener) => Supervisor,
): Supervisor {
  if (!sandbox.listen) return make((entry, isKept) => on?.(entry, isKept))
  const programs = new ProgramStory()
  const why = new Map<string, string>()
  const channels: TimelineEntry[] = []
  let released: number | undefined

  /** A zone that is gone is told of with the reason. */
  const withWhy = (entry: TimelineEntry): TimelineEntry => {
    const reason = entry.event === 'zone' && entry.reason === 'gone' && why.get(entry.zone)
    return reason ? { ...entry, reason } : entry
  }
  const supervisor = make((entry, isKept) => {
    released ??= clock.now() - entry.at
    const told = withWhy(entry)
    programs.hear(told)
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
      const timeline = merged(supervised.timeline.map(withWhy), channels)
      const made = zonesIn(sandbox, programs.told())
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
  const made = split && madeOf(split, (zone) => (sandbox as ZonedSandbox).callersOf(zone))
  if (!programs) return made
  return { made: [], residual: [], ...made, programs }
}

/** In the order in which it happened; nothing stands before the first phase or behind the end. */
function merged(
  timeline: readonly TimelineEntry[],
  channels: readonly TimelineEntry[],
): readonly TimelineEntry[] {
  const [first, ...rest] = timeline
  if (!first || channels.length === 0) return timeline
  const last = rest.at(-1)?.event === 'terminated' ? rest.splice(-1) : []
  const inside = [...rest, ...channels].sort((a, b) => a.at - b.at)
  return [first, ...inside, ...last]
}
