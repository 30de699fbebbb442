import type { CourseConfig, ScheduleConfig } from '../contract/config.ts'
import { allControls, controlNames, controlsBeyond, meet } from '../contract/controls.ts'
import type { Control, Controls } from '../contract/controls.ts'
import type { ChannelRule, Phase, Schedule, ZoneSchedule } from '../contract/phase.ts'
import type { FieldReason } from '../contract/profile.ts'
import type { CodeTrust } from '../contract/verdict.ts'
import type { ChosenSchedule } from './choose-schedule.ts'
import { cumulativeControls } from './meet-schedules.ts'
import type { RestrainedLimits } from './restrain-limits.ts'

export interface ScheduleWanted {
  readonly chosen: ChosenSchedule
  /** Controls at the start of the life. */
  readonly granted: Controls
  readonly timeoutMs: number
  /** Trust in the code, which selects the first phase. */
  readonly trust: CodeTrust
}

/**
 * Schedule of one life: each phase is the meet of its own controls and the previous phase. Without a configured
 * schedule, one phase as long as the timeout.
 */
export function scheduleFor({ chosen, granted, timeoutMs, trust }: ScheduleWanted): Schedule {
  const { name, course } = chosen
  if (!course) return oneLife(granted, timeoutMs)
  const zones = Object.entries(course.zones).map(
    ([kind, zone]) => [kind, zoneOf(zone, granted)] as const,
  )
  const { phases, ...reactions } = laidOut(course, granted)
  return {
    name,
    // Skipped phases still close what they close.
    phases: phases.slice(beginOf(course, trust)),
    ...reactions,
    ...(zones.length > 0 && { zones: Object.fromEntries(zones) }),
    ...(course.channels && { channels: course.channels.map(channelOf) }),
    ...(course.honeytokens && { honeytokens: true }),
    ...(course.observe_files && { observeFiles: true }),
  }
}

/** Bounds that a wall which enforces them has from its start. */
const startBounds = ['memory', 'processes'] as const

/**
 * Limits with those of the first phase, and `holds`, the controls that are less for it. A wall is made with them: an isolate
 * could not be tightened to them before user code begins.
 */
export function limitsAtStart(
  { limits, explain, ...rest }: RestrainedLimits,
  { course, because }: ChosenSchedule,
  trust: CodeTrust,
): RestrainedLimits & { readonly holds: readonly Control[] } {
  const first = course && cumulativeControls(course)[beginOf(course, trust)]!
  const holds = startBounds.filter((name) => first && first[name] < limits[name])
  if (!first || holds.length === 0) return { limits, explain, holds, ...rest }
  const own = Object.fromEntries(holds.map((name) => [name, first[name]]))
  const rows = holds.map((name) => {
    return { field: `limits.${name}`, value: first[name], because: `${because}: first phase` }
  })
  const others = explain.filter(({ field }) => !rows.some((row) => row.field === field))
  return { ...rest, holds, limits: { ...limits, ...own }, explain: [...others, ...rows] }
}

/** Fields of a schedule with their reasons. */
export function explainSchedule(
  schedule: Schedule,
  granted: Controls,
  { because, course }: ChosenSchedule,
  trust: CodeTrust,
): readonly FieldReason[] {
  const { name, phases, onAnomaly, shorten, clock = 'wall', zones = {} } = schedule
  const { honeytokens, observeFiles } = schedule
  const why = course ? because : 'default: one phase as long as limits.timeout'
  const kinds = Object.entries(zones).map(([kind, zone]) => [kind, zone.phases.map(textOf)])
  return [
    { field: 'schedule.name', value: name, because },
    { field: 'schedule.trust', value: trust, because: 'analysis and signature' },
    {
      field: 'schedule.begins',
      value: phases[0]!.name,
      because: course?.begin_at[trust] ? `${because}: begin_at.${trust}` : 'default: the first',
    },
    { field: 'schedule.phases', value: phases.map(textOf), because: why },
    { field: 'schedule.closes', value: closedBy(phases, granted), because: why },
    { field: 'schedule.clock', value: clock, because },
    { field: 'schedule.onAnomaly', value: onAnomaly, because },
    { field: 'schedule.shorten', value: shorten, because },
    { field: 'schedule.zones', value: Object.fromEntries(kinds), because },
    ...(schedule.channels
      ? [{ field: 'schedule.channels', value: schedule.channels, because }]
      : []),
    ...(honeytokens ? [{ field: 'schedule.honeytokens', value: true, because }] : []),
    ...(observeFiles ? [{ field: 'schedule.observeFiles', value: true, because }] : []),
  ]
}

/** Index of the first phase. */
function beginOf({ phases, begin_at }: ScheduleConfig, trust: CodeTrust): number {
  const place = phases.findIndex(({ name }) => name === begin_at[trust])
  return Math.max(0, place)
}

function laidOut(course: CourseConfig, granted: Controls): ZoneSchedule {
  const phases: Phase[] = []
  let before = granted
  for (const { name, for: length, controls, advance_if, terminate_if } of course.phases) {
    before = meet(before, { ...allControls, ...controls })
    phases.push({
      name,
      for: length,
      controls: before,
      ...(advance_if !== undefined && { advanceIf: advance_if }),
      ...(terminate_if !== undefined && { terminateIf: terminate_if }),
    })
  }
  return {
    phases,
    onAnomaly: course.on_anomaly,
    shorten: course.shorten,
    ...(course.clock === 'cpu' && { clock: 'cpu' }),
  }
}

function zoneOf(zone: ScheduleConfig['zones'][string], granted: Controls): ZoneSchedule {
  const { program: programs, function: functions } = zone
  return {
    ...laidOut(zone, granted),
    ...(programs && { programs }),
    ...(functions && { functions }),
  }
}

type ChannelConfig = NonNullable<ScheduleConfig['channels']>[number]

function channelOf({ calls_per_second: callsPerSecond, ...rule }: ChannelConfig): ChannelRule {
  return { ...rule, ...(callsPerSecond !== undefined && { callsPerSecond }) }
}

/** A single phase cannot advance, so medium anomalies are only recorded. */
function oneLife(granted: Controls, timeoutMs: number): Schedule {
  return {
    name: 'default',
    phases: [{ name: 'full', for: timeoutMs, controls: granted }],
    onAnomaly: { low: 'record', medium: 'record', high: 'terminate' },
    shorten: 0.5,
  }
}

function textOf({ name, for: ms, advanceIf, terminateIf }: Phase): string {
  const advance = advanceIf === undefined ? '' : `, or until ${advanceIf}`
  const terminate = terminateIf === undefined ? '' : `; terminate if ${terminateIf}`
  return `${name} ${ms} ms${advance}${terminate}`
}

/** Controls that some phase makes stricter than before. */
export function closedIn(phases: readonly Phase[], granted: Controls): readonly Control[] {
  const closed = closedBy(phases, granted).map((controls) => Object.keys(controls))
  return controlNames.filter((name) => closed.some((names) => names.includes(name)))
}

/** For each phase the controls that are stricter than before. */
function closedBy(phases: readonly Phase[], granted: Controls): readonly Partial<Controls>[] {
  return phases.map(({ controls }, place) => {
    const closed = controlsBeyond(phases[place - 1]?.controls ?? granted, controls)
    return Object.fromEntries(closed.map((name) => [name, controls[name]]))
  })
}
