import type { Clock } from '../contract/clock.ts'
import { meet, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { TimelineListener, TimelineEntry } from '../contract/event.ts'
import type { LiveRow, LiveSandbox } from '../contract/live.ts'
import type { Profile } from '../contract/profile.ts'
import type { Ability, Sandbox } from '../contract/provider.ts'
import type { LifeHandle } from '../contract/pipeline.ts'
import { mainZone } from '../contract/phase.ts'

/** Limit of operator entries in one timeline; further operations are only in the record. */
export const operatorEntriesMax = 200
/** Limit of tightenings shown. */
const tightenedMax = 100

export interface LifeParts {
  readonly sandbox: Sandbox
  readonly profile: Profile
  readonly clock: Clock
  readonly can: Pick<LiveSandbox, 'tightens'> & { readonly can: readonly Ability[] }
}

/** State of one life as seen from outside, derived from its timeline only. */
export class OperatedLife {
  readonly parts: LifeParts
  readonly #counts = new Map<string, number>()
  readonly #phases = new Map<string, string>()
  readonly #closed = new Map<string, Partial<Controls>>()
  readonly #tightened: TimelineEntry[] = []
  readonly #own: TimelineEntry[] = []
  #released: number | undefined
  #supervisor: LifeHandle | undefined
  #emit: TimelineListener = () => undefined
  #isFrozen = false
  #behaviorScore = 0
  run = ''

  constructor(parts: LifeParts) {
    this.parts = parts
  }

  get supervisor(): LifeHandle {
    return this.#supervisor!
  }

  /** Entries before the first phase are dropped unless the life begins. */
  attach(supervisor: LifeHandle, emit: TimelineListener): void {
    this.#supervisor = supervisor
    this.#emit = emit
  }

  /** Throws MayflyError CONFLICT before the release of user code. */
  assertBegun(): void {
    if (this.#released !== undefined) return
    throw new MayflyError('CONFLICT', `Cannot do this to "${this.run}" yet: it has not begun`)
  }

  /** Throws MayflyError CONFLICT once user code has ended, even if the wall is kept for a capture. */
  assertNotOver(): void {
    if (!this.supervisor.isOver) return
    throw new MayflyError('CONFLICT', `Cannot do this to "${this.run}" any more: its life is over`)
  }

  /** Adds an entry for an operation. */
  note(line: Omit<TimelineEntry, 'at' | 'zone'>): void {
    const isKept = this.#own.length < operatorEntriesMax
    const entry = { at: this.#age, zone: mainZone, ...line }
    if (isKept) this.#own.push(entry)
    this.record(entry)
    this.#emit(entry, isKept)
  }

  /** Merges operator entries into a timeline; the final `terminated` entry stays last. */
  withOperatorEntries(timeline: readonly TimelineEntry[]): readonly TimelineEntry[] {
    if (this.#own.length === 0) return timeline
    const isLast = ({ event, zone }: TimelineEntry) => event === 'terminated' && zone === mainZone
    const cut = timeline.filter(isLast)
    const rest = timeline.filter((entry) => !isLast(entry))
    return [...[...rest, ...this.#own].sort((a, b) => a.at - b.at), ...cut]
  }

  /** Controls last confirmed by the wall. Throws MayflyError NOT_FOUND for an unknown zone. */
  controlsOf(zone: string): Controls {
    const { controls } = this.parts.profile
    const own = { ...controls, ...this.#closed.get(mainZone) }
    if (zone === mainZone) return own
    const closed = this.#closed.get(zone)
    if (!closed) throw new MayflyError('NOT_FOUND', `Cannot find the zone "${zone}"`)
    return meet(own, { ...own, ...closed })
  }

  get row(): LiveRow {
    const { sandbox, profile } = this.parts
    return {
      id: this.run,
      sandbox: sandbox.id,
      tenant: profile.tenant,
      tier: profile.tier,
      provider: sandbox.provider,
      phase: this.#phases.get(mainZone) ?? null,
      age: this.#age,
      frozen: this.#isFrozen,
      behaviorScore: this.#behaviorScore,
      counts: Object.fromEntries(this.#counts),
    }
  }

  get details(): LiveSandbox {
    const { sandbox, can } = this.parts
    const zones = [...this.#closed.keys()].filter((zone) => zone !== mainZone)
    return {
      ...this.row,
      image: sandbox.image,
      controls: this.controlsOf(mainZone),
      tightens: can.tightens,
      can: can.can,
      zones: zones.map((zone) => ({
        zone,
        phase: this.#phases.get(zone) ?? null,
        controls: this.controlsOf(zone),
      })),
      tightened: this.#tightened,
    }
  }

  get #age(): number {
    return this.#released === undefined ? 0 : this.parts.clock.now() - this.#released
  }

  /** Follows the timeline. */
  record(entry: TimelineEntry): void {
    const { event, zone, phase, fields } = entry
    this.#released ??= this.parts.clock.now() - entry.at
    this.#counts.set(event, (this.#counts.get(event) ?? 0) + 1)
    if (event === 'phase' && phase !== undefined) this.#phases.set(zone, phase)
    if (event === 'zone') this.#turnZone(entry)
    if (event === 'frozen') this.#isFrozen = true
    if (event === 'thawed') this.#isFrozen = false
    const score = event === 'anomaly' ? fields?.['behaviorScore'] : undefined
    if (typeof score === 'number') this.#behaviorScore = score
    if (event === 'terminated') this.#forget(zone)
    if (event === 'tightened') this.#keep(entry)
  }

  /** A reason marks the end of the zone. */
  #turnZone({ zone, reason }: TimelineEntry): void {
    if (reason === undefined) this.#closed.set(zone, {})
    else this.#forget(zone)
  }

  #forget(zone: string): void {
    this.#closed.delete(zone)
    if (zone !== mainZone) this.#phases.delete(zone)
  }

  #keep(entry: TimelineEntry): void {
    this.#closed.set(entry.zone, { ...this.#closed.get(entry.zone), ...entry.controls })
    this.#tightened.push(entry)
    if (this.#tightened.length > tightenedMax) this.#tightened.shift()
  }
}
