import type { Config, ScheduleConfig } from '../contract/config.ts'
import { isWithin } from '../contract/controls.ts'
import { presetNames, presets } from '../contract/presets.ts'
import { MayflyError } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import { lengthOf } from '../contract/phase.ts'
import { cumulativeControls, isNoMilder, meetSchedules } from './meet-schedules.ts'

export interface ChosenSchedule {
  readonly name: string
  readonly because: string
  /** Undefined if none is configured: a single phase as long as the timeout. */
  readonly course: ScheduleConfig | undefined
  /** Length of all phases in milliseconds; undefined if it is the timeout. */
  readonly lifeMs: number | undefined
}

/**
 * Chooses the schedule of a job. Precedence: bound to its origin or to a capability called or requested, named by the
 * job, `default`. All bound ones apply, because a job chooses its capabilities and must not choose a looser schedule by
 * them. A job may replace a bound schedule only by one that is nowhere looser. Presets can be named only if no
 * schedule is configured, since they could otherwise bypass one. Throws MayflyError INVALID for unknown names, and for
 * bound schedules that cannot both apply.
 */
export function chooseSchedule(
  { asked, origin, capability }: Pick<Job, 'asked' | 'origin' | 'capability'>,
  { schedules }: Config,
): ChosenSchedule {
  const called = capability === undefined ? [] : [capability]
  const bound = boundTo([...called, ...asked.capabilities], origin, schedules)
  const named = asked.schedule === undefined ? undefined : found(asked.schedule, schedules)
  if (!bound) return named ?? known('default', schedules) ?? unscheduled
  if (!named || named.name === bound.name) return bound
  if (named.course && bound.course && isNoLooser(named.course, bound.course)) return named
  return { ...bound, because: `${bound.because}; "${named.name}" is not known to be as strict` }
}

const unscheduled: ChosenSchedule = {
  name: 'default',
  because: 'default',
  course: undefined,
  lifeMs: undefined,
}

function found(name: string, schedules: Config['schedules']): ChosenSchedule {
  const schedule = known(name, schedules, ': asked') ?? preset(name, schedules)
  if (schedule) return schedule
  if (name === 'default') return unscheduled
  throw new MayflyError('INVALID', `Cannot find the schedule "${name}"`, {
    details: { field: 'schedule', known: knownNames(schedules) },
    hint: 'Name one that the configuration has under [schedules]',
  })
}

function knownNames(schedules: Config['schedules']): readonly string[] {
  const configured = Object.keys(schedules).sort()
  return configured.length > 0 ? configured : [...presetNames].sort()
}

const isPreset = (name: string): boolean => presetNames.some((one) => one === name)

/** Presets do not extend the timeout. */
function preset(name: string, schedules: Config['schedules']): ChosenSchedule | undefined {
  if (Object.keys(schedules).length > 0 || !isPreset(name)) return undefined
  const course = presets()[name]!.schedule
  return { name, because: 'policies/schedules.json: asked', course, lifeMs: undefined }
}

function known(name: string, schedules: Config['schedules'], why = ''): ChosenSchedule | undefined {
  const course = Object.hasOwn(schedules, name) ? schedules[name] : undefined
  if (!course) return undefined
  return { name, because: `schedules.${name}${why}`, course, lifeMs: lengthOf(course.phases) }
}

function boundTo(
  capabilities: readonly string[],
  origin: Job['origin'],
  schedules: Config['schedules'],
): ChosenSchedule | undefined {
  const all = Object.entries(schedules)
  const byCapability = capabilities.flatMap((capability) =>
    all
      .filter(([, { for_capabilities }]) => for_capabilities.includes(capability))
      .map(([name]) => known(name, schedules, `: for capability "${capability}"`)!),
  )
  const byOrigin = all
    .filter(([, { for_origins }]) => for_origins.includes(origin))
    .map(([name]) => known(name, schedules, `: for origin "${origin}"`)!)
  const bound = [...byCapability, ...byOrigin].toSorted(
    (a, b) => a.lifeMs! - b.lifeMs! || (a.name < b.name ? -1 : 1),
  )
  const distinct = bound.filter(({ name }, n) => bound.findIndex((one) => one.name === name) === n)
  return distinct.length > 0 ? distinct.reduce(both) : undefined
}

/** The stricter of two bound schedules; their meet, if neither is. */
function both(one: ChosenSchedule, other: ChosenSchedule): ChosenSchedule {
  const [first, second] = [one.course!, other.course!]
  if (isNoLooser(first, second)) return one
  if (isNoLooser(second, first)) return other
  const names = [one.name, other.name] as const
  const course = meetSchedules(first, second)
  if (course)
    return {
      name: names.join(' + '),
      because: `${one.because}; ${other.because}`,
      course,
      lifeMs: lengthOf(course.phases),
    }
  const quoted = names.map((name) => `"${name}"`).join(' and ')
  throw new MayflyError('INVALID', `Cannot apply both of the schedules ${quoted}`, {
    details: { field: 'capabilities', schedules: names },
    hint: 'Both have conditions, zones, channels or "begin_at": request fewer capabilities, or bind a single schedule to this origin and these capabilities',
  })
}

/**
 * True if `inner` is at least as strict as `outer` in every possible life: phase by phase no longer and no wider, no
 * more time left by an advance, and reactions equal or ending. Schedules with conditions, zones or CPU clocks are not
 * comparable and count as looser.
 */
function isNoLooser(inner: ScheduleConfig, outer: ScheduleConfig): boolean {
  const conditional = outer.phases.some(
    ({ advance_if, terminate_if }) => advance_if ?? terminate_if,
  )
  if (conditional || outer.clock === 'cpu' || Object.keys(outer.zones).length > 0) return false
  if (inner.shorten > outer.shorten || beginsLater(outer)) return false
  if (outer.honeytokens && !inner.honeytokens) return false
  if (outer.observe_files && !inner.observe_files) return false
  const severities = ['low', 'medium', 'high'] as const
  const isMilder = severities.some((one) => {
    const [reaction, least] = [inner.on_anomaly[one], outer.on_anomaly[one]]
    // `tighten` withdraws the rights of the next phase, which differ.
    return !isNoMilder(reaction, least) || (reaction === 'tighten' && least === 'tighten')
  })
  if (isMilder) return false
  const [controls, most] = [cumulativeControls(inner), cumulativeControls(outer)]
  return inner.phases.every((phase, place) => {
    const limit = outer.phases[place]
    return limit && phase.for <= limit.for && isWithin(controls[place]!, most[place]!)
  })
}

/** `begin_at` makes the first phase depend on trust in the code, which is not known here. */
function beginsLater({ begin_at }: ScheduleConfig): boolean {
  return Object.values(begin_at).some((name) => name !== undefined)
}
