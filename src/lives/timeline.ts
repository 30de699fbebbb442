import type { Clock } from '../contract/clock.ts'
import type { TimelineListener, TimelineEntry } from '../contract/event.ts'
import { mainZone } from '../contract/phase.ts'

/** Capacity of a timeline, without its last entry. */
export const timelineEntriesMax = 1000
/** Share for guest-caused entries and zones, so that a flood cannot hide tightenings of `main`. */
export const guestEntriesMax = 500
/** Share of those for denials. */
export const deniedEntriesMax = 200
/**
 * Separate capacity for anomalies, so that floods of denials or zones hide none; half of it is reserved for severity
 * `high`.
 */
export const anomalyEntriesMax = 200
const guestCaused = new Set<TimelineEntry['event']>(['denied', 'zone', 'channel'])
/** Events streamed to listeners even when the timeline is full. */
const alwaysStreamed = new Set<TimelineEntry['event']>([
  'phase',
  'tightened',
  'zone',
  'terminated',
  'anomaly',
])

type EntryParts = Omit<TimelineEntry, 'at' | 'zone'>

/** Timeline of one life. It begins with the release of user code, and is empty without one. */
export class Timeline {
  readonly #clock: Clock
  readonly #on: TimelineListener
  #entries: TimelineEntry[] = []
  #released: number | undefined
  #ofGuests = 0
  #denied = 0
  #anomalies = 0

  /** `on` receives the entries in order; those from before the release are delivered at the release. */
  constructor(clock: Clock, on: TimelineListener = () => undefined) {
    this.#clock = clock
    this.#on = on
  }

  get hasBegun(): boolean {
    return this.#released !== undefined
  }

  /** Milliseconds since the release of user code; 0 before it. */
  get age(): number {
    return this.#released === undefined ? 0 : this.#clock.now() - this.#released
  }

  /** Entries so far; those from before the release have no time yet. */
  get entries(): readonly TimelineEntry[] {
    return this.#entries
  }

  /** Time 0; entries noted earlier are placed after the first phase. */
  begin(line: EntryParts): void {
    this.#released = this.#clock.now()
    this.#entries = [{ at: 0, zone: mainZone, ...line }, ...this.#entries]
    for (const entry of this.#entries) this.#on(entry, true)
  }

  /** Adds an entry for a zone, by default `main`. */
  note(line: EntryParts, zone: string = mainZone): void {
    const entry = { at: this.age, zone, ...line }
    const isKept = this.#hasRoom(entry)
    if (isKept) this.#entries.push(entry)
    if (this.hasBegun && (isKept || alwaysStreamed.has(line.event))) this.#on(entry, isKept)
  }

  #hasRoom({ event, zone, fields }: TimelineEntry): boolean {
    if (this.#entries.length >= timelineEntriesMax) return false
    if (event === 'anomaly') {
      const max = fields?.['severity'] === 'high' ? anomalyEntriesMax : anomalyEntriesMax / 2
      return this.#anomalies < max && ++this.#anomalies > 0
    }
    if (event === 'denied' && ++this.#denied > deniedEntriesMax) return false
    const isOfGuest = guestCaused.has(event) || zone !== mainZone
    return !isOfGuest || ++this.#ofGuests <= guestEntriesMax
  }

  /** Complete timeline; with a reason, a final `terminated` entry is added. */
  end(reason: string | undefined): readonly TimelineEntry[] {
    if (!this.hasBegun) return []
    if (reason === undefined) return this.#entries
    const last: TimelineEntry = { at: this.age, zone: mainZone, event: 'terminated', reason }
    this.#on(last, true)
    return [...this.#entries, last]
  }
}
