import type { ScheduleConfig } from '../contract/config.ts'
import { allControls, meet, type Controls } from '../contract/controls.ts'
import type { Reaction } from '../contract/phase.ts'

/**
 * A schedule that is nowhere looser than either: phase by phase the shorter time and the fewer rights, as many phases as the
 * shorter one has, and the stricter reactions. Only one of the two may have conditions, zones, channels or `begin_at`;
 * undefined otherwise, because these name the phases and zones of their own schedule.
 */
export function meetSchedules(
  one: ScheduleConfig,
  other: ScheduleConfig,
): ScheduleConfig | undefined {
  if (namesOwnParts(other)) return namesOwnParts(one) ? undefined : meetSchedules(other, one)
  const [rights, most] = [cumulativeControls(one), cumulativeControls(other)]
  const phases = one.phases.slice(0, other.phases.length).map((phase, place) => ({
    ...phase,
    for: Math.min(phase.for, other.phases[place]!.for),
    controls: meet(rights[place]!, most[place]!),
  }))
  const { low, medium, high } = one.on_anomaly
  return {
    ...one,
    phases,
    on_anomaly: {
      low: stricter(low, other.on_anomaly.low),
      medium: stricter(medium, other.on_anomaly.medium),
      high: stricter(high, other.on_anomaly.high),
    },
    shorten: Math.min(one.shorten, other.shorten),
    clock: one.clock === 'cpu' ? 'cpu' : other.clock,
    honeytokens: one.honeytokens || other.honeytokens,
    observe_files: one.observe_files || other.observe_files,
    begin_at: beginsWithin(one, phases.length),
  }
}

function namesOwnParts({ phases, zones, channels, begin_at }: ScheduleConfig): boolean {
  return (
    phases.some(({ advance_if, terminate_if }) => advance_if ?? terminate_if) ||
    Object.keys(zones).length > 0 ||
    channels !== undefined ||
    Object.values(begin_at).some((name) => name !== undefined)
  )
}

/** Code that would begin with a phase that was cut off begins with the last one that is left. */
function beginsWithin({ phases, begin_at }: ScheduleConfig, count: number) {
  const names = phases.map(({ name }) => name)
  const within = (begins: string | undefined) =>
    begins === undefined ? undefined : names[Math.min(names.indexOf(begins), count - 1)]
  const { suspect, plain, signed } = begin_at
  return { suspect: within(suspect), plain: within(plain), signed: within(signed) }
}

/** Controls of each phase; omitted keys are inherited. */
export function cumulativeControls({
  phases,
}: Pick<ScheduleConfig, 'phases'>): readonly Controls[] {
  let before = allControls
  return phases.map((phase) => (before = { ...before, ...phase.controls }))
}

/** True if `inner` closes at least what `outer` does; reactions that close different things are not comparable. */
export function isNoMilder(inner: Reaction, outer: Reaction): boolean {
  if (outer === 'record' || inner === 'terminate' || inner === 'capture') return true
  return inner === outer
}

function stricter(one: Reaction, other: Reaction): Reaction {
  if (isNoMilder(one, other)) return one
  return isNoMilder(other, one) ? other : 'terminate'
}
