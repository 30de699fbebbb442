import type { ConfigValues, PhaseConfig } from '../contract/config.ts'
import { callClasses } from '../contract/calls.ts'
import { readCondition, type Condition } from '../contract/condition.ts'
import { allControls, controlsBeyond, type Controls } from '../contract/controls.ts'
import { messageOf } from '../contract/error.ts'
import { lengthOf, mainZone, type Reaction } from '../contract/phase.ts'
import { kindsWithoutZone, zoneKinds } from '../contract/zones.ts'
import { durationMsMax } from '../contract/units.ts'
import { attempt } from '../lib/attempt.ts'
import { duplicates, fault, type Fault } from './fault.ts'
import type { KeyPath } from './positions.ts'
import { nearHint } from './variables.ts'

type Schedules = ConfigValues['schedules']
type Course = Pick<Schedules[string], 'phases' | 'on_anomaly' | 'clock'>

/**
 * Checks schedules beyond the schema: no phase is looser than the one before it, and no zone looser than the main one;
 * conditions parse; an origin or a capability has at most one schedule. Each schedule terminates: advances and conditions
 * lead to a later phase or to the end, never back, so it is enough that the phases together are within the longest life.
 */
export function* scheduleFaults(schedules: Schedules): Generator<Fault> {
  for (const [name, schedule] of Object.entries(schedules)) {
    const path = ['schedules', name]
    yield* courseFaults(schedule, path, { before: allControls, of: 'the phase before it' })
    const granted = { ...allControls, ...schedule.phases[0]!.controls }
    for (const [kind, zone] of Object.entries(schedule.zones)) {
      yield* courseFaults(zone, [...path, 'zones', kind], { before: granted, of: 'the whole' })
      if (zone.program) yield* programFaults(kind, zone, [...path, 'zones', kind])
      yield* zoneFaults(kind, zone, [...path, 'zones', kind])
    }
    yield* duplicateFunctionFaults(schedule, path)
    yield* channelFaults(schedule, path)
  }
  yield* duplicateBindingFaults(schedules, 'for_origins', 'origin')
  yield* duplicateBindingFaults(schedules, 'for_capabilities', 'capability')
}

/** Finds settings that are valid, but certainly not intended. */
export function* scheduleWarnings({ schedules, ceilings }: ConfigValues): Generator<Fault> {
  for (const [name, schedule] of Object.entries(schedules)) {
    const path = ['schedules', name]
    const whole = lengthOf(schedule.phases)
    const isBound = schedule.for_origins.length + schedule.for_capabilities.length > 0
    const meant = isBound || schedules['default'] ? '' : nearHint(name, ['default'])
    if (meant) yield fault(path, `only jobs that name it have it${meant}`)
    yield* courseWarnings(schedule, path)
    yield* lateWarnings(schedule, path, ceilings.timeout, 'ceilings.timeout')
    for (const [kind, zone] of Object.entries(schedule.zones)) {
      const inner = [...path, 'zones', kind]
      yield* courseWarnings(zone, inner)
      yield* unenforcedWarnings(kind, zone, inner)
      yield* lateWarnings(zone, inner, whole, `schedule "${name}"`)
    }
  }
}

type Zone = Schedules[string]['zones'][string]

const isKind = (name: string): boolean => zoneKinds.some((one) => one === name)

/** Refuses a zone that matches no code: with a misspelt kind, the code meant would run without the zone's phases. */
function* zoneFaults(kind: string, zone: Zone, path: KeyPath): Generator<Fault> {
  if (zone.program && zone.function)
    yield fault([...path, 'function'], 'expected one of "program" and "function"')
  if (zone.function && (isKind(kind) || kind === mainZone))
    yield fault(
      [...path, 'function'],
      `expected another name for a zone of functions: "${kind}" is a built-in zone`,
    )
  if (zone.program || zone.function || isKind(kind)) return
  const meant = nearHint(kind, zoneKinds)
  yield fault(
    path,
    `expected a kind (${zoneKinds.join(', ')}), or a zone with "function" or "program"${meant}`,
  )
}

function duplicateFunctionFaults({ zones }: Schedules[string], path: KeyPath): Generator<Fault> {
  const functions = Object.entries(zones).flatMap(([owner, zone]) => {
    const names = zone.function ?? []
    return names.map((value) => ({ value, owner, path: [...path, 'zones', owner, 'function'] }))
  })
  return duplicates(
    functions,
    (name, other) => `expected one zone for the function "${name}"; "${other}" is another`,
  )
}

function* channelFaults({ zones, channels = [] }: Schedules[string], path: KeyPath) {
  const named = Object.keys(zones).filter((kind) => zones[kind]!.program === undefined)
  const ends = [mainZone, '*', ...named]
  for (const [index, rule] of channels.entries())
    for (const key of ['from', 'to'] as const)
      if (!ends.includes(rule[key]))
        yield fault(
          [...path, 'channels', index, key],
          `expected a JavaScript zone of this schedule: ${ends.map((one) => `"${one}"`).join(', ')}`,
        )
}

/** Controls that a wall for JavaScript can enforce for one zone in it. */
const enforcedInZone: ReadonlySet<string> = new Set([
  'network',
  'files',
  'memory',
  'io',
  'processes',
  'syscalls',
  'capabilities',
])

/** Finds zone settings that older configurations have and no wall enforces. */
function* unenforcedWarnings(kind: string, zone: Zone, path: KeyPath): Generator<Fault> {
  if (zone.program) return
  if (kindsWithoutZone.has(kind))
    yield fault(path, `no wall supports zones of the kind "${kind}": its functions stay in "main"`)
  for (const [index, { controls }] of zone.phases.entries())
    for (const control of Object.keys(controls).filter((name) => !enforcedInZone.has(name)))
      yield fault(
        [...path, 'phases', index, control],
        `"${control}" is not enforced for a JavaScript zone, only for the whole job; each run reports it`,
      )
}

interface Limit {
  readonly before: Controls
  /** Owner of those controls. */
  readonly of: string
}

/** The first phase of the main zone starts from the job's grants, which are unknown here, so any controls are accepted. */
function* courseFaults({ phases }: Course, path: KeyPath, limit: Limit): Generator<Fault> {
  let { before, of } = limit
  const names = new Set<string>()
  for (const [index, phase] of phases.entries()) {
    const here = [...path, 'phases', index]
    const now = { ...before, ...phase.controls }
    for (const control of controlsBeyond(now, before))
      yield fault(
        [...here, control],
        `expected no more than ${of} has: ${JSON.stringify(before[control])}`,
      )
    yield* classFaults(phase, here)
    if (names.has(phase.name))
      yield fault([...here, 'name'], `expected one phase "${phase.name}", found two`)
    yield* conditionFaults(phase, here)
    names.add(phase.name)
    before = now
    of = 'the phase before it'
  }
  if (lengthOf(phases) > durationMsMax)
    yield fault(
      [...path, 'phases'],
      `expected an end within ${durationMsMax} ms, found ${lengthOf(phases)} ms of phases`,
    )
}

/** Refuses a misspelt class of system calls: the class meant would be closed. */
function* classFaults({ controls: { syscalls } }: PhaseConfig, path: KeyPath): Generator<Fault> {
  if (syscalls === undefined || syscalls === 'any') return
  for (const name of syscalls) {
    if (callClasses.some((one) => one === name)) continue
    const meant = nearHint(name, callClasses)
    const known = callClasses.join(', ')
    yield fault([...path, 'syscalls'], `expected classes (${known}), not "${name}"${meant}`)
  }
}

/** Controls that a cgroup can enforce for a part of a wall; the others apply to the wall as a whole. */
const ofPrograms: ReadonlySet<string> = new Set(['memory', 'cpu', 'processes'])

function* programFaults(kind: string, { phases, clock }: Course, path: KeyPath): Generator<Fault> {
  if (isKind(kind))
    yield fault(
      [...path, 'program'],
      `expected another name for a zone of programs: "${kind}" is a kind of JavaScript code`,
    )
  if (clock === 'cpu')
    yield fault(
      [...path, 'clock'],
      'expected "wall": the CPU time of a zone of programs is not known while it runs',
    )
  for (const [index, phase] of phases.entries()) {
    const here = [...path, 'phases', index]
    for (const control of Object.keys(phase.controls).filter((name) => !ofPrograms.has(name)))
      yield fault(
        [...here, control],
        `expected ${[...ofPrograms].join(', ')} only: "${control}" applies to the whole program`,
      )
    for (const key of conditionKeys)
      if (conditionOf(phase[key])?.readsCpu)
        yield fault(
          [...here, key],
          'expected no "life.cpu": the CPU time of a zone of programs is not known while it runs',
        )
  }
}

const conditionKeys = ['advance_if', 'terminate_if'] as const

/** Undefined without one, and for one that is reported for itself. */
function conditionOf(text: string | undefined): Condition | undefined {
  return text === undefined ? undefined : attempt(() => readCondition(text))
}

function* conditionFaults(phase: PhaseConfig, path: KeyPath): Generator<Fault> {
  for (const key of conditionKeys) {
    const text = phase[key]
    if (text === undefined) continue
    try {
      readCondition(text)
    } catch (thrown) {
      yield fault([...path, key], messageOf(thrown))
    }
  }
}

function duplicateBindingFaults(
  schedules: Schedules,
  key: 'for_origins' | 'for_capabilities',
  noun: string,
): Generator<Fault> {
  const bindings = Object.entries(schedules).flatMap(([owner, schedule]) =>
    schedule[key].map((value, index) => ({ value, owner, path: ['schedules', owner, key, index] })),
  )
  return duplicates(
    bindings,
    (bound, other) => `expected one schedule for ${noun} "${bound}"; "${other}" is another`,
  )
}

/** Rank of a reaction, from recording to termination; equal ranks are not ordered. */
export const reactionRank: Readonly<Record<Reaction, number>> = {
  record: 0,
  advance: 1,
  tighten: 1,
  freeze: 2,
  capture: 3,
  terminate: 3,
}

function* courseWarnings(course: Course, path: KeyPath): Generator<Fault> {
  const { on_anomaly, phases } = course
  const names = phases.map(({ name }) => name)
  for (const [index, phase] of phases.entries())
    for (const key of conditionKeys)
      for (const other of conditionOf(phase[key])?.phases ?? [])
        if (!names.includes(other))
          yield fault(
            [...path, 'phases', index, key],
            `no phase here has the name "${other}"${nearHint(other, names) || `; there are ${names.join(', ')}`}`,
          )
  const order = ['low', 'medium', 'high'] as const
  for (const [place, severity] of order.entries()) {
    const reaction = on_anomaly[severity]
    const lesser = order
      .slice(0, place)
      .find((one) => reactionRank[on_anomaly[one]] > reactionRank[reaction])
    if (lesser)
      yield fault(
        [...path, 'on_anomaly', severity],
        `"${reaction}" is milder than "${on_anomaly[lesser]}", the reaction to ${lesser} anomalies`,
      )
  }
}

/** Finds phases that would start after the end. */
function* lateWarnings(
  { phases }: Course,
  path: KeyPath,
  until: number | undefined,
  what: string,
): Generator<Fault> {
  if (until === undefined) return
  for (const [index, phase] of phases.entries()) {
    const begins = lengthOf(phases.slice(0, index))
    if (begins >= until)
      yield fault(
        [...path, 'phases', index],
        `phase "${phase.name}" never begins: ${what} ends after ${until} ms`,
      )
  }
}
