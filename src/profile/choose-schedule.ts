import type { Config, ScheduleConfig } from '../contract/config.ts'
import { allControls, isWithin } from '../contract/controls.ts'
import { presetNames, presets } from '../contract/presets.ts'
import { MayflyError } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import { lengthOf, type Reaction } from '../contract/phase.ts'

export interface ChosenSchedule {
  readonly name: string
  readonly because: string
  /** Undefined if none is configured: a single phase as long as the timeout. */
  readonly course: ScheduleConfig | undefined
  /** Length of all phases in milliseconds; undefined if it is the timeout. */
  readonly lifeMs: number | undefined
}

/**
 * Chooses the schedule of a job. Precedence: bound to a capability called or requested, bound to the origin, named by
 * the job, `default`. Among several bound ones the shortest life wins. A job may replace a bound schedule only by one
 * that is nowhere looser. Presets can be named only if no schedule is configured, since they could otherwise bypass
 * one. Throws MayflyError INVALID for unknown names.
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
  return { ...bound, because: `${bound.because}; "${named.name}" allows more` }
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
  const closest = byCapability.length > 0 ? byCapability : byOrigin
  return closest.toSorted((a, b) => a.lifeMs! - b.lifeMs! || (a.name < b.name ? -1 : 1))[0]
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
  const severities = ['low', 'medium', 'high'] as const
  if (!severities.every((one) => isNoMilder(inner.on_anomaly[one], outer.on_anomaly[one])))
    return false
  const [controls, most] = [controlsOf(inner), controlsOf(outer)]
  return inner.phases.every((phase, place) => {
    const limit = outer.phases[place]
    return limit && phase.for <= limit.for && isWithin(controls[place]!, most[place]!)
  })
}

/** `begin_at` makes the first phase depend on trust in the code, which is not known here. */
function beginsLater({ begin_at }: ScheduleConfig): boolean {
  return Object.values(begin_at).some((name) => name !== undefined)
}

/** Reactions that close different things are not comparable, and neither is `tighten` from different phases. */
function isNoMilder(inner: Reaction, outer: Reaction): boolean {
  if (outer === 'record' || inner === 'terminate' || inner === 'capture') return true
  return inner === outer && outer !== 'tighten'
}

/** Cumulative controls of each phase; omitted keys are inherited. */
function controlsOf({ phases }: ScheduleConfig) {
  let before = allControls
  return phases.map((phase) => (before = { ...before, ...phase.controls }))
}
