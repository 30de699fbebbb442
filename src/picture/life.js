/**
 * Input of a picture: the life in an outcome, or a running one so far.
 *
 * @typedef {{
 *   readonly at: number, readonly zone: string, readonly event: string, readonly phase?: string | undefined,
 *   readonly controls?: Readonly<Record<string, unknown>> | undefined, readonly took?: number | undefined,
 *   readonly reason?: string | undefined, readonly fields?: Readonly<Record<string, unknown>> | undefined,
 * }} Entry a line of a timeline
 * @typedef {{ name: string, for: number, controls: Readonly<Record<string, unknown>> }} PlannedPhase
 *   `for` in milliseconds; `controls` are those it is stricter in
 * @typedef {{
 *   controls: Readonly<Record<string, unknown>>, phases: readonly PlannedPhase[], msMax: number,
 *   zones?: Readonly<Record<string, readonly PlannedPhase[]>>,
 * }} Plan `controls` are those a life begins with; it is over after `msMax` milliseconds at the latest; `zones` are the
 *   phases of zones by their kind
 * @typedef {{ from: number, to: number, status: string }} Exec of a session; `running` before its end
 * @typedef {{ host: string, port: number, verdict: string, sent: number, received: number }} Attempt
 * @typedef {{
 *   status: string, reason?: string, wall: string, plan: Plan, timeline: readonly Entry[], age: number,
 *   out?: number, cpu?: number, memory?: number, network: readonly Attempt[], execs?: readonly Exec[],
 * }} Life `status` is `running` before the end; `age` is milliseconds since user code was released; `out`, `memory` bytes
 */

/** Plan of an unknown life. @type {Plan} */
export const noPlan = { controls: {}, phases: [], msMax: Infinity }

/**
 * Plan of a profile.
 * @param {{
 *   readonly controls: object, readonly limits: { readonly timeout: number },
 *   readonly schedule: {
 *     readonly phases: readonly PhaseOfProfile[],
 *     readonly zones?: Readonly<Record<string, { readonly phases: readonly PhaseOfProfile[] }>> | undefined,
 *   },
 * }} profile
 * @returns {Plan}
 */
export function planOf({ controls, schedule, limits }) {
  const zones = Object.entries(schedule.zones ?? {}).map(([kind, { phases }]) => [
    kind,
    plannedOf(phases, recordOf(phases[0]?.controls)),
  ])
  return {
    controls: recordOf(controls),
    phases: plannedOf(schedule.phases, recordOf(controls)),
    msMax: limits.timeout,
    zones: Object.fromEntries(zones),
  }
}

/** @typedef {{ readonly name: string, readonly for: number, readonly controls: object }} PhaseOfProfile */

/** @param {readonly PhaseOfProfile[]} phases @param {Readonly<Record<string, unknown>>} granted @returns {PlannedPhase[]} */
function plannedOf(phases, granted) {
  let before = granted
  return phases.map(({ name, for: length, controls }) => {
    const now = recordOf(controls)
    const closed = Object.entries(now).filter(
      ([control, value]) => JSON.stringify(value) !== JSON.stringify(before[control]),
    )
    before = now
    return { name, for: length, controls: Object.fromEntries(closed) }
  })
}

/**
 * A finished life. Its plan is read from the reasons of its profile, as far as they contain it.
 * @param {{
 *   readonly status: string, readonly tier?: string | undefined, readonly provider?: string | undefined,
 *   readonly error?: { readonly code: string, readonly message: string } | undefined,
 *   readonly stdout: string, readonly stderr: string, readonly timeline: readonly Entry[],
 *   readonly profile: { readonly explain: readonly { readonly field: string, readonly value?: unknown }[] },
 *   readonly metrics: {
 *     readonly executionTime: number, readonly cpuTime: number, readonly network: readonly Attempt[],
 *     readonly memoryUsage?: { readonly peak: number } | undefined,
 *   },
 * }} outcome
 * @returns {Life}
 */
export function lifeOf(outcome) {
  const { status, error, tier, provider, timeline, metrics, stdout, stderr, profile } = outcome
  return {
    status,
    ...(error && { reason: reasonOf(outcome) }),
    wall: [tier, provider].filter(Boolean).join(', '),
    plan: plannedIn(profile.explain),
    timeline,
    age: Math.max(metrics.executionTime, timeline.at(-1)?.at ?? 0),
    out: bytesOf(stdout) + bytesOf(stderr),
    cpu: metrics.cpuTime,
    ...(metrics.memoryUsage && { memory: metrics.memoryUsage.peak }),
    network: metrics.network,
  }
}

/** The wall's own words for a limit or a cut; of what code throws the first line. @param {{
 *   readonly status: string, readonly timeline: readonly Entry[],
 *   readonly error?: { readonly code: string, readonly message: string } | undefined,
 * }} outcome */
function reasonOf({ status, error, timeline }) {
  const said = timeline.findLast(({ event }) => event === 'terminated')?.reason
  if (status === 'terminated' && said !== undefined) return said
  return status === 'timeout' || status === 'cancelled' ? '' : (error?.message ?? '')
}

/** @param {readonly { readonly field: string, readonly value?: unknown }[]} explain @returns {Plan} */
function plannedIn(explain) {
  const values = new Map(explain.map(({ field, value }) => [field, value]))
  const controls = Object.fromEntries(
    explain
      .filter(({ field }) => field.startsWith('controls.'))
      .map(({ field, value }) => [field.slice('controls.'.length), value]),
  )
  const phases = listOf(values.get('schedule.phases'))
  const closing = listOf(values.get('schedule.closes'))
  const timeout = values.get('limits.timeout')
  return {
    controls,
    phases: phases.flatMap((text, place) => phaseIn(text, recordOf(closing[place]))),
    msMax: typeof timeout === 'number' ? timeout : Infinity,
    zones: Object.fromEntries(
      Object.entries(recordOf(values.get('schedule.zones'))).map(([kind, texts]) => [
        kind,
        listOf(texts).flatMap((text) => phaseIn(text, {})),
      ]),
    ),
  }
}

/** Name, length, and other end conditions. */
const PHASE = /^(.{1,64}?) (\d+) ms(?:$|, or until |; terminate if )/s

/** @param {unknown} text @param {Readonly<Record<string, unknown>>} controls @returns {PlannedPhase[]} */
function phaseIn(text, controls) {
  const [, name, length] = PHASE.exec(typeof text === 'string' ? text : '') ?? []
  return name === undefined ? [] : [{ name, for: Number(length), controls }]
}

/** @param {unknown} value @returns {readonly unknown[]} */
function listOf(value) {
  return Array.isArray(value) ? value : []
}

/** @param {unknown} value @returns {Readonly<Record<string, unknown>>} */
function recordOf(value) {
  return typeof value === 'object' && value !== null
    ? /** @type {Record<string, unknown>} */ (value)
    : {}
}

/** @param {string} text */
function bytesOf(text) {
  return new TextEncoder().encode(text).length
}
