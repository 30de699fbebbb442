import { allControls, controlsBeyond, meet, noFiles, noNetwork } from '../contract/controls.ts'
import type { Control, Controls } from '../contract/controls.ts'
import { mainZone, type Reaction, type Schedule, type ZoneSchedule } from '../contract/phase.ts'
import { type Course, cutShort, layOut, stepAt, type Step } from './course.ts'

/**
 * A life as a value, and what happens to it as a function: `(life, happening) → (life, acts)`. Nothing here waits,
 * calls or reads a clock; whoever does gives the time with what happened, and carries out the acts.
 *
 * Three promises hold whatever the schedule, whatever happens, and in whatever order it is told:
 *
 * - What is closed never reopens. What a zone may do is only ever the meeting of what it could before with its phase,
 *   with what somebody took away, and with what the whole may do. There is no function that goes back.
 * - It ends. Phases follow each other by time alone, and all else that can happen only brings an end nearer.
 * - Late is not lost. Time never runs backwards here: what is told late happens when it is told. A wall's answer to
 *   an order that a stricter one has overtaken says nothing about that one.
 */
export interface Life {
  /** The latest time that was told of, in milliseconds since the release of user code. */
  readonly at: number
  /** The whole, `main`, and the zones in it, those that are over too: no zone begins twice. */
  readonly strands: ReadonlyMap<string, Strand>
}

/** The whole or a zone: its phases, where it is in them, and what it may do. */
export interface Strand {
  readonly zone: string
  readonly course: Course
  readonly rules: Pick<ZoneSchedule, 'onAnomaly' | 'shorten' | 'clock'>
  /** Which step holds; never goes back. */
  readonly place: number
  /** What was taken away beside the phases. */
  readonly ceiling: Controls
  /** What it may do now: what the wall was last told. */
  readonly controls: Controls
  /** Counts what the wall was told; an answer names the order that it answers. */
  readonly order: number
  /** What was closed and the wall has not yet confirmed. */
  readonly owed: readonly Control[]
  /** Processor time so far, and when its phase opened, in milliseconds. */
  readonly cpu: number
  readonly cpuAtOpening: number
  readonly end: End | undefined
}

export type End =
  | { readonly status: 'timeout' | 'gone' }
  | { readonly status: 'terminated'; readonly reason: string }

export type Happening = { readonly at: number } & (
  | { readonly kind: 'time' }
  /** Processor time that was used since the release. */
  | { readonly kind: 'cpu'; readonly zone: string; readonly cpu: number }
  | { readonly kind: 'advance'; readonly zone: string; readonly reason: string }
  | {
      readonly kind: 'anomaly'
      readonly zone: string
      readonly severity: keyof Schedule['onAnomaly']
      readonly reason: string
    }
  | { readonly kind: 'tighten'; readonly zone: string; readonly to: Controls }
  | { readonly kind: 'terminate'; readonly zone: string; readonly reason: string }
  /** A zone begins; without a schedule of its own it lives as the whole does. */
  | { readonly kind: 'zone'; readonly zone: string; readonly schedule?: ZoneSchedule | undefined }
  /** A zone ended by itself. */
  | { readonly kind: 'gone'; readonly zone: string }
  /** The wall's answer to an order: it holds, or it does not. */
  | { readonly kind: 'held'; readonly zone: string; readonly order: number }
  | {
      readonly kind: 'unheld'
      readonly zone: string
      readonly order: number
      readonly why: string
    }
)

/** What is to be done, in this order. */
export type Act = { readonly zone: string } & (
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
  | { readonly kind: 'end'; readonly phase: string; readonly end: End }
)

export interface Turn {
  readonly life: Life
  readonly acts: readonly Act[]
}

/** Zones in one life, those that are over too; each one more is ended as it begins. */
export const zonesMax = 256

/** A life at its release, below `granted`, what the sandbox was made with. It is over after `msMax` at the latest. */
export function begin(schedule: Schedule, granted: Controls, msMax: number): Turn {
  const course = layOut(schedule.phases, { from: 0, until: msMax, granted })
  const strand = strandOf(mainZone, course, schedule, granted)
  return settle({ at: 0, strands: new Map() }, 0, new Map([[mainZone, strand]]), [])
}

/** The life after what happened, and what is to be done now. Of a life that is over nothing more comes. */
export function next(life: Life, happening: Happening): Turn {
  if (wholeOf(life).end) return { life, acts: [] }
  const at = Math.max(life.at, happening.at)
  const strands = new Map<string, Strand>()
  for (const [zone, strand] of life.strands) strands.set(zone, aged(strand, at))
  const acts: Act[] = []
  befall(strands, { ...happening, at }, acts)
  return settle(life, at, strands, acts)
}

export function wholeOf(life: Life): Strand {
  return life.strands.get(mainZone)!
}

/** The step that a strand is in; the last one when it is over. */
export function stepOf({ course, place }: Strand): Step {
  return course.steps[Math.min(place, course.steps.length - 1)]!
}

/** When something is to happen next by time alone; undefined once the life is over. */
export function nextAt(life: Life): number | undefined {
  if (wholeOf(life).end) return undefined
  const open = [...life.strands.values()].filter(({ end }) => !end)
  return Math.min(...open.map((strand) => stepOf(strand).closes))
}

function strandOf(zone: string, course: Course, rules: Strand['rules'], granted: Controls): Strand {
  return {
    zone,
    course,
    rules,
    place: 0,
    ceiling: granted,
    controls: granted,
    order: 0,
    owed: [],
    cpu: 0,
    cpuAtOpening: 0,
    end: undefined,
  }
}

/** Changes the strands that something happens to, and says what is more than a change. */
function befall(strands: Map<string, Strand>, happening: Happening, acts: Act[]): void {
  if (happening.kind === 'time') return
  if (happening.kind === 'zone') return enter(strands, happening, acts)
  const { kind, zone } = happening
  const named = strands.get(zone)
  if (!named && (kind === 'held' || kind === 'unheld' || kind === 'gone')) return
  // What is not known to be of a zone is the whole's: the stricter reading. A zone that is over is past all that.
  const strand = named ?? strands.get(mainZone)!
  if (!strand.end) strands.set(strand.zone, changed(strand, happening, acts))
}

function changed(
  strand: Strand,
  happening: Exclude<Happening, { kind: 'time' | 'zone' }>,
  acts: Act[],
): Strand {
  switch (happening.kind) {
    case 'cpu':
      return agedByCpu({ ...strand, cpu: Math.max(strand.cpu, happening.cpu) }, happening.at)
    case 'advance':
      return advanced(strand, happening, acts)
    case 'anomaly':
      return reacted(strand, strand.rules.onAnomaly[happening.severity], happening, acts)
    case 'tighten':
      return { ...strand, ceiling: meet(strand.ceiling, happening.to) }
    case 'terminate':
      return { ...strand, end: { status: 'terminated', reason: happening.reason } }
    case 'gone':
      return strand.zone === mainZone ? strand : { ...strand, end: { status: 'gone' } }
    case 'held':
      return happening.order === strand.order ? { ...strand, owed: [] } : strand
    case 'unheld': {
      if (happening.order < strand.order) return strand
      const reason = `Cannot enforce phase "${stepOf(strand).phase}": ${happening.why}`
      return advanced(strand, { at: happening.at, reason }, acts)
    }
  }
}

interface Cause {
  readonly at: number
  readonly reason: string
}

function reacted(strand: Strand, reaction: Reaction, cause: Cause, acts: Act[]): Strand {
  switch (reaction) {
    case 'record':
      return strand
    case 'advance':
      return advanced(strand, cause, acts)
    case 'tighten':
      return { ...strand, ceiling: meet(strand.ceiling, tighter(strand)) }
    case 'freeze':
      acts.push({ kind: 'freeze', zone: strand.zone, reason: cause.reason })
      return strand
    // Whoever carries it out ends the life then, whatever came of it.
    case 'capture':
      acts.push({ kind: 'capture', zone: strand.zone, reason: cause.reason })
      return strand
    case 'terminate':
      return { ...strand, end: { status: 'terminated', reason: cause.reason } }
  }
}

/** What the next phase may do, before its time; in the last one, nothing that leads out. */
function tighter({ course, place }: Strand): Controls {
  return course.steps[place + 1]?.controls ?? { ...allControls, ...nothingOut }
}

const nothingOut = { network: noNetwork, files: noFiles, capabilities: [] } as const

/** The phase it is in is over, what is to come is shortened; after the last one nothing comes. */
function advanced(strand: Strand, { at, reason }: Cause, acts: Act[]): Strand {
  const course = cutShort(strand.course, at, strand.rules.shorten)
  const place = stepAt(course, at)
  if (place >= course.steps.length)
    return { ...strand, course, place, end: { status: 'terminated', reason } }
  acts.push({ kind: 'advanced', zone: strand.zone, phase: stepOf(strand).phase, reason })
  return opened({ ...strand, course }, place)
}

function aged(strand: Strand, at: number): Strand {
  return strand.end ? strand : opened(strand, stepAt(strand.course, at))
}

/** A clock of processor time ends phases early, and never late: what comes after moves up and keeps its length. */
function agedByCpu(strand: Strand, at: number): Strand {
  if (strand.rules.clock !== 'cpu' || strand.end) return strand
  const { opens, closes } = stepOf(strand)
  const used = strand.cpu - strand.cpuAtOpening
  if (used < closes - opens) return strand
  const course = cutShort(strand.course, at, 1)
  const later = opened({ ...strand, course }, stepAt(course, at))
  return agedByCpu({ ...later, cpuAtOpening: strand.cpuAtOpening + (closes - opens) }, at)
}

function opened(strand: Strand, place: number): Strand {
  if (place <= strand.place) return strand
  const end = place >= strand.course.steps.length ? ({ status: 'timeout' } as const) : undefined
  return { ...strand, place, cpuAtOpening: strand.cpu, end }
}

function enter(
  strands: Map<string, Strand>,
  { at, zone, schedule }: Extract<Happening, { kind: 'zone' }>,
  acts: Act[],
): void {
  if (strands.has(zone)) return
  if (strands.size > zonesMax) {
    const end = { status: 'terminated', reason: `More than ${zonesMax} zones in one life` } as const
    return void acts.push({ kind: 'end', zone, phase: zone, end })
  }
  const { course, rules, ceiling, controls: granted } = withControls(strands.get(mainZone)!)
  const until = course.ends
  const alike = [{ name: zone, for: Math.max(1, until - at), controls: allControls }]
  const own = layOut(schedule?.phases ?? alike, { from: at, until, granted })
  const strand = strandOf(zone, own, schedule ?? rules, meet(ceiling, granted))
  strands.set(zone, aged(strand, at))
}

/** Compares what was with what is: says what opened, what the wall must close, and what is over. */
function settle(before: Life, at: number, strands: Map<string, Strand>, said: Act[]): Turn {
  const acts = [...said]
  const main = strands.get(mainZone)!
  const was = before.strands.get(mainZone)
  // The end of the whole is that of every zone: no more is said of them.
  const open = main.end ? [main] : [...strands.values()]
  const limit = main.end || main === was ? main.controls : withControls(main).controls
  for (const strand of open) {
    const { zone, end } = strand
    const old = before.strands.get(zone)
    // Nothing happened to it or around it: of many zones most, at most times.
    if (strand === old && limit === was?.controls) continue
    const { phase } = stepOf(strand)
    if (end && !old?.end) acts.push({ kind: 'end', zone, phase, end })
    if (end) continue
    if (old && strand.place > old.place) acts.push({ kind: 'opened', zone, phase })
    const now = withControls(strand, limit)
    strands.set(zone, now)
    if (now.order > strand.order) acts.push(closing(now))
  }
  return { life: { at, strands }, acts }
}

/** With what it may do now, and with a new order where that is less than the wall was told. */
function withControls(strand: Strand, limit: Controls = allControls): Strand {
  const asked = meet(meet(stepOf(strand).controls, strand.ceiling), limit)
  const controls = meet(strand.controls, asked)
  const closed = controlsBeyond(strand.controls, controls)
  if (closed.length === 0) return strand
  const owed = [...new Set([...strand.owed, ...closed])]
  return { ...strand, controls, owed, order: strand.order + 1 }
}

function closing(strand: Strand): Act {
  const { zone, controls, owed, order } = strand
  return { kind: 'close', zone, phase: stepOf(strand).phase, controls, closing: owed, order }
}
