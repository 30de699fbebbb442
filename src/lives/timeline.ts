import type { Clock } from '../contract/clock.ts'
import type { TimelineListener, TimelineEntry } from '../contract/event.ts'
import { mainZone } from '../contract/phase.ts'

/** Lines kept of one life, but for the last one, which always is. */
export const entriesMax = 1000
/** Of these, lines that a guest can bring about, and those of zones: no flood hides what closed on the whole. */
export const guestEntriesMax = 500
/** Of those, lines of what was refused. */
export const deniedEntriesMax = 200
/**
 * Lines of anomalies, beside those: whoever tries doors, or starts programs, for ever hides none. Half of them are for
 * the worst alone.
 */
export const anomalyEntriesMax = 200
const guestWords = new Set<TimelineEntry['event']>(['denied', 'zone', 'channel'])
/** What is told even where there is no room for it. */
const standing = new Set<TimelineEntry['event']>([
  'phase',
  'tightened',
  'zone',
  'terminated',
  'anomaly',
])

type Line = Omit<TimelineEntry, 'at' | 'zone'>

/** The story of one life. It begins when user code is released; a life that never was has none. */
export class Timeline {
  readonly #clock: Clock
  readonly #on: TimelineListener
  #entries: TimelineEntry[] = []
  #released: number | undefined
  #ofGuests = 0
  #denied = 0
  #anomalies = 0

  /** `on` hears each line in the order of the whole: those from before the release when that comes. */
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

  /** Time 0. What was closed before it comes after the phase that closed it. */
  begin(line: Line): void {
    this.#released = this.#clock.now()
    this.#entries = [{ at: 0, zone: mainZone, ...line }, ...this.#entries]
    for (const entry of this.#entries) this.#on(entry, true)
  }

  /** A line of a zone, of the whole where none is named. */
  note(line: Line, zone: string = mainZone): void {
    const entry = { at: this.age, zone, ...line }
    const isKept = this.#hasRoom(entry)
    if (isKept) this.#entries.push(entry)
    if (this.hasBegun && (isKept || standing.has(line.event))) this.#on(entry, isKept)
  }

  #hasRoom({ event, zone, fields }: TimelineEntry): boolean {
    if (this.#entries.length >= entriesMax) return false
    if (event === 'anomaly') {
      const max = fields?.['severity'] === 'high' ? anomalyEntriesMax : anomalyEntriesMax / 2
      return this.#anomalies < max && ++this.#anomalies > 0
    }
    if (event === 'denied' && ++this.#denied > deniedEntriesMax) return false
    const isOfGuest = guestWords.has(event) || zone !== mainZone
    return !isOfGuest || ++this.#ofGuests <= guestEntriesMax
  }

  /** The whole of it; with a reason, the life was cut, and the last line says why. */
  end(reason: string | undefined): readonly TimelineEntry[] {
    if (!this.hasBegun) return []
    if (reason === undefined) return this.#entries
    const last: TimelineEntry = { at: this.age, zone: mainZone, event: 'terminated', reason }
    this.#on(last, true)
    return [...this.#entries, last]
  }
}
