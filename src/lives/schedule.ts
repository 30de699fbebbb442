import assert from 'node:assert/strict'
import {
  allControls,
  assertNarrowed,
  controlsBeyond,
  meet,
  noFiles,
  noNetwork,
} from '../contract/controls.ts'
import type { Control, Controls } from '../contract/controls.ts'
import { mainZone, type Reaction, type Schedule, type ZoneSchedule } from '../contract/phase.ts'
import type { LifeRest } from '../contract/pipeline.ts'
import type { Profile } from '../contract/profile.ts'
import type { LimitCode } from '../contract/provider.ts'
import { type PhasePlan, endStepEarly, planPhases, stepAt, type PhaseStep } from './phase-plan.ts'

/**
 * State machine of a life, as a pure function: `(life, input) → (life, actions)`.
 *
 * Problem: time, CPU use, anomalies, operators and answers of the wall arrive concurrently and in any order (races),
 * and no order may loosen a control.
 *
 * Mechanism: the caller passes the time with each input and carries out the actions; nothing here waits, calls or
 * reads a clock. Invariants, held by property tests and asserted after each input (`assertForward`):
 * - Closed controls never reopen: a zone's controls are only ever met with its phase, its ceiling and the controls of
 *   `main`.
 * - A life ends: phases end by time alone, and every other input can only bring the end nearer.
 * - Time is monotonic: a late input counts at the time it is reported. An answer to an order that a stricter
 *   order has superseded does not confirm the stricter one.
 */
export interface Life {
  /** Time of the latest input, in milliseconds since the release of user code. */
  readonly at: number
  /** `main` and all zones, ended ones included, so that no zone name begins twice. */
  readonly zones: ReadonlyMap<string, ZoneState>
}

/** State of `main` or a zone: its phases, current phase and controls. */
export interface ZoneState {
  readonly zone: string
  readonly plan: PhasePlan
  readonly rules: Pick<ZoneSchedule, 'onAnomaly' | 'shorten' | 'clock'>
  /** Index of the current step; never decreases. */
  readonly stepIndex: number
  /** Limit of controls set by tighten orders, in addition to the phases. */
  readonly ceiling: Controls
  /** Controls last ordered from the wall. */
  readonly controls: Controls
  /** Sequence number of orders; the wall's answers carry it. */
  readonly order: number
  /** Controls closed but not yet confirmed by the wall. */
  readonly unconfirmed: readonly Control[]
  /** True if the wall did not hold the last order: the next phase orders it again. */
  readonly isRefused: boolean
  /** CPU time so far and at the opening of the phase, in milliseconds. */
  readonly cpu: number
  readonly cpuAtOpening: number
  readonly end: LifeEnd | undefined
}

export type LifeEnd =
  | { readonly status: 'timeout' | 'gone' }
  /** `limit`: of an anomaly that consists in using a limit up. */
  | { readonly status: 'terminated'; readonly reason: string; readonly limit?: LimitCode }

export type LifeInput = { readonly at: number } & (
  | { readonly kind: 'time' }
  /** CPU time used since the release. */
  | { readonly kind: 'cpu'; readonly zone: string; readonly cpu: number }
  | { readonly kind: 'advance'; readonly zone: string; readonly reason: string }
  | {
      readonly kind: 'anomaly'
      readonly zone: string
      readonly severity: keyof Schedule['onAnomaly']
      readonly reason: string
      readonly limit?: LimitCode
    }
  | { readonly kind: 'tighten'; readonly zone: string; readonly to: Controls }
  | { readonly kind: 'terminate'; readonly zone: string; readonly reason: string }
  /** A zone begins; without a schedule it gets a single phase as long as the program. */
  | { readonly kind: 'zone'; readonly zone: string; readonly schedule?: ZoneSchedule | undefined }
  /** A zone ended by itself. */
  | { readonly kind: 'gone'; readonly zone: string }
  /** Answer of the wall to an order: enforced, or not. */
  | { readonly kind: 'held'; readonly zone: string; readonly order: number }
  | {
      readonly kind: 'unheld'
      readonly zone: string
      readonly order: number
      readonly why: string
    }
)

/** Actions for the caller, in this order. */
export type LifeAction = { readonly zone: string } & (
  | { readonly kind: 'advanced'; readonly phase: string; readonly reason: string }
  | { readonly kind: 'opened'; readonly phase: string }
  | {
      readonly kind: 'close'
      readonly phase: string
      readonly controls: Controls
      readonly closing: readonly Control[]
      readonly order: number
    }
  | { readonly kind: 'freeze' | 'capture'; readonly reason: string }
  | { readonly kind: 'end'; readonly phase: string; readonly end: LifeEnd }
)

export interface Transition {
  readonly life: Life
  readonly actions: readonly LifeAction[]
}

/** Limit of zones in one life, ended ones included; further zones are ended as they begin. */
export const zonesMax = 256

/** First states by profile. A state is never changed, so that jobs of one plan share it. */
const initialStates = new WeakMap<Pick<Profile, 'schedule' | 'controls' | 'limits'>, Transition>()

/** State of a profile at the release of user code; made once for a profile that cannot change. */
export function initialStateOf(
  profile: Pick<Profile, 'schedule' | 'controls' | 'limits'>,
): Transition {
  const { schedule, controls, limits } = profile
  const known = initialStates.get(profile)
  if (known) return known
  const first = initialState(schedule, controls, limits.timeout)
  if (Object.isFrozen(profile)) initialStates.set(profile, first)
  return first
}

/** State at the release of user code. `granted`: controls the sandbox was made with; `msMax`: latest end. */
export function initialState(schedule: Schedule, granted: Controls, msMax: number): Transition {
  const plan = planPhases(schedule.phases, { from: 0, until: msMax, granted })
  const state = newZoneState(mainZone, plan, schedule, granted)
  return withActions({ at: 0, zones: new Map() }, 0, new Map([[mainZone, state]]), [])
}

/** State and actions after an input. A finished life no longer changes. Throws AssertionError for a bug. */
export function nextState(life: Life, input: LifeInput): Transition {
  if (mainOf(life).end) return { life, actions: [] }
  const at = Math.max(life.at, input.at)
  const states = new Map<string, ZoneState>()
  for (const [zone, state] of life.zones) states.set(zone, aged(state, at))
  const actions: LifeAction[] = []
  applyInput(states, { ...input, at }, actions)
  const next = withActions(life, at, states, actions)
  assertForward(life, next.life)
  return next
}

/** Throws AssertionError if a life moved backwards: in time or phase, in closed controls, or from an end. */
export function assertForward(before: Life, after: Life): void {
  assert(after.at >= before.at, `time went back from ${before.at} to ${after.at}`)
  for (const [zone, was] of before.zones) {
    const now = after.zones.get(zone)
    assert(now, `zone "${zone}" is missing`)
    if (now === was) continue
    assert(now.stepIndex >= was.stepIndex, `zone "${zone}" went back to an earlier phase`)
    assert(now.plan.ends <= was.plan.ends, `zone "${zone}" would end later than planned`)
    assert(now.order >= was.order, `zone "${zone}" took back an order`)
    assert(!was.end || now.end, `zone "${zone}" began again after its end`)
    if (now.controls !== was.controls) assertNarrowed(was.controls, now.controls)
    if (now.ceiling !== was.ceiling) assertNarrowed(was.ceiling, now.ceiling)
  }
}

export function mainOf(life: Life): ZoneState {
  return life.zones.get(mainZone)!
}

/** Current step, or the last one after the end. */
export function stepOf({ plan, stepIndex }: ZoneState): PhaseStep {
  return plan.steps[Math.min(stepIndex, plan.steps.length - 1)]!
}

/** Next time at which a phase ends; undefined after the end of the life. */
export function nextAt(life: Life): number | undefined {
  if (mainOf(life).end) return undefined
  const open = [...life.zones.values()].filter(({ end }) => !end)
  return Math.min(...open.map((state) => stepOf(state).closes))
}

/** Controls of `main` in force, and its phases that are left at a time, the current one first and shortened by what is over of it. */
export function restOf(life: Life, at: number): LifeRest {
  const { plan, controls, ceiling } = mainOf(life)
  const left = plan.steps.filter(({ closes }) => closes - at >= 1)
  const phases = left.map(({ phase: name, opens, closes, controls: own, ...conditions }) => ({
    name,
    for: Math.floor(closes - Math.max(opens, at)),
    controls: meet(meet(own, ceiling), controls),
    ...(conditions.advanceIf !== undefined && { advanceIf: conditions.advanceIf }),
    ...(conditions.terminateIf !== undefined && { terminateIf: conditions.terminateIf }),
  }))
  return { controls, phases: phases.filter((phase) => phase.for >= 1) }
}

function newZoneState(
  zone: string,
  plan: PhasePlan,
  rules: ZoneState['rules'],
  granted: Controls,
): ZoneState {
  return {
    zone,
    plan,
    rules,
    stepIndex: 0,
    ceiling: granted,
    controls: granted,
    order: 0,
    unconfirmed: [],
    isRefused: false,
    cpu: 0,
    cpuAtOpening: 0,
    end: undefined,
  }
}

/** Applies an input to the state it concerns; actions other than closings are appended. */
function applyInput(states: Map<string, ZoneState>, input: LifeInput, actions: LifeAction[]): void {
  if (input.kind === 'time') return
  if (input.kind === 'zone') return beginZone(states, input, actions)
  const { kind, zone } = input
  const named = states.get(zone)
  if (!named && (kind === 'held' || kind === 'unheld' || kind === 'gone')) return
  // Unknown zones count as `main`, the stricter reading; ended zones no longer change.
  const state = named ?? states.get(mainZone)!
  if (!state.end) states.set(state.zone, changed(state, input, actions))
}

function changed(
  state: ZoneState,
  input: Exclude<LifeInput, { kind: 'time' | 'zone' }>,
  actions: LifeAction[],
): ZoneState {
  switch (input.kind) {
    case 'cpu':
      return agedByCpu({ ...state, cpu: Math.max(state.cpu, input.cpu) }, input.at)
    case 'advance':
      return advanced(state, input, actions)
    case 'anomaly':
      return withReaction(state, state.rules.onAnomaly[input.severity], input, actions)
    case 'tighten':
      return { ...state, ceiling: meet(state.ceiling, input.to) }
    case 'terminate':
      return { ...state, end: { status: 'terminated', reason: input.reason } }
    case 'gone':
      return state.zone === mainZone ? state : { ...state, end: { status: 'gone' } }
    case 'held':
      return input.order === state.order ? { ...state, unconfirmed: [] } : state
    case 'unheld': {
      if (input.order < state.order) return state
      const reason = `Cannot enforce phase "${stepOf(state).phase}": ${input.why}`
      const isRefused = state.unconfirmed.length > 0
      return advanced({ ...state, isRefused }, { at: input.at, reason }, actions)
    }
  }
}

interface Cause {
  readonly at: number
  readonly reason: string
  readonly limit?: LimitCode
}

function withReaction(
  state: ZoneState,
  reaction: Reaction,
  cause: Cause,
  actions: LifeAction[],
): ZoneState {
  switch (reaction) {
    case 'record':
      return state
    case 'advance':
      return advanced(state, cause, actions)
    case 'tighten':
      return { ...state, ceiling: meet(state.ceiling, nextControls(state)) }
    case 'freeze':
      actions.push({ kind: 'freeze', zone: state.zone, reason: cause.reason })
      return state
    // The caller ends the life after the capture, whether it succeeded or not.
    case 'capture':
      actions.push({ kind: 'capture', zone: state.zone, reason: cause.reason })
      return state
    case 'terminate':
      return { ...state, end: terminatedBy(cause) }
  }
}

function terminatedBy({ reason, limit }: Cause): LifeEnd {
  return { status: 'terminated', reason, ...(limit && { limit }) }
}

/** Controls of the next phase; in the last phase, network, files and capabilities are closed. */
function nextControls({ plan, stepIndex }: ZoneState): Controls {
  return plan.steps[stepIndex + 1]?.controls ?? { ...allControls, ...nothingOut }
}

const nothingOut = { network: noNetwork, files: noFiles, capabilities: [] } as const

/** Ends the current phase and shortens the rest; ends the life after the last phase. */
function advanced(state: ZoneState, cause: Cause, actions: LifeAction[]): ZoneState {
  const { at, reason } = cause
  const plan = endStepEarly(state.plan, at, state.rules.shorten)
  const stepIndex = stepAt(plan, at)
  if (stepIndex >= plan.steps.length) return { ...state, plan, stepIndex, end: terminatedBy(cause) }
  actions.push({ kind: 'advanced', zone: state.zone, phase: stepOf(state).phase, reason })
  return opened({ ...state, plan }, stepIndex)
}

function aged(state: ZoneState, at: number): ZoneState {
  return state.end ? state : opened(state, stepAt(state.plan, at))
}

/** CPU clock: ends phases early, never late; later phases move up and keep their length. */
function agedByCpu(state: ZoneState, at: number): ZoneState {
  if (state.rules.clock !== 'cpu' || state.end) return state
  const { opens, closes } = stepOf(state)
  const used = state.cpu - state.cpuAtOpening
  if (used < closes - opens) return state
  const plan = endStepEarly(state.plan, at, 1)
  const later = opened({ ...state, plan }, stepAt(plan, at))
  return agedByCpu({ ...later, cpuAtOpening: state.cpuAtOpening + (closes - opens) }, at)
}

function opened(state: ZoneState, stepIndex: number): ZoneState {
  if (stepIndex <= state.stepIndex) return state
  const end = stepIndex >= state.plan.steps.length ? ({ status: 'timeout' } as const) : undefined
  return { ...state, stepIndex, cpuAtOpening: state.cpu, end }
}

function beginZone(
  states: Map<string, ZoneState>,
  { at, zone, schedule }: Extract<LifeInput, { kind: 'zone' }>,
  actions: LifeAction[],
): void {
  if (states.has(zone)) return
  if (states.size > zonesMax) {
    const end = { status: 'terminated', reason: `More than ${zonesMax} zones in one life` } as const
    return void actions.push({ kind: 'end', zone, phase: zone, end })
  }
  const { plan, rules, ceiling, controls: granted } = withControls(states.get(mainZone)!)
  const until = plan.ends
  const alike = [{ name: zone, for: Math.max(1, until - at), controls: allControls }]
  const own = planPhases(schedule?.phases ?? alike, { from: at, until, granted })
  const state = newZoneState(zone, own, schedule ?? rules, meet(ceiling, granted))
  states.set(zone, aged(state, at))
}

/** Diffs the states and emits actions: ended, opened, close. */
function withActions(
  before: Life,
  at: number,
  states: Map<string, ZoneState>,
  first: LifeAction[],
): Transition {
  const actions = [...first]
  const main = states.get(mainZone)!
  const was = before.zones.get(mainZone)
  // The end of `main` ends every zone; no separate actions.
  const open = main.end ? [main] : [...states.values()]
  const limit = main.end || main === was ? main.controls : withControls(main).controls
  for (const state of open) {
    const { zone, end } = state
    const old = before.zones.get(zone)
    // Fast path: most zones are unchanged by most inputs.
    if (state === old && limit === was?.controls) continue
    const { phase } = stepOf(state)
    if (end && !old?.end) actions.push({ kind: 'end', zone, phase, end })
    if (end) continue
    if (old && state.stepIndex > old.stepIndex) actions.push({ kind: 'opened', zone, phase })
    const now = withControls(state, limit)
    states.set(zone, now)
    if (now.order > state.order) actions.push(closing(now))
  }
  return { life: { at, zones: states }, actions }
}

/** Controls in force now, with a new order if they are stricter than the last one, or if the wall did not hold that. */
function withControls(state: ZoneState, limit: Controls = allControls): ZoneState {
  const asked = meet(meet(stepOf(state).controls, state.ceiling), limit)
  const controls = meet(state.controls, asked)
  const closed = controlsBeyond(state.controls, controls)
  if (closed.length === 0 && !state.isRefused) return state
  const unconfirmed = [...new Set([...state.unconfirmed, ...closed])]
  return { ...state, controls, unconfirmed, isRefused: false, order: state.order + 1 }
}

function closing(state: ZoneState): LifeAction {
  const { zone, controls, unconfirmed, order } = state
  return { kind: 'close', zone, phase: stepOf(state).phase, controls, closing: unconfirmed, order }
}
