import type { LifeView } from '../contract/condition.ts'
import type { Point } from '../contract/event.ts'
import { mainZone } from '../contract/phase.ts'
import { type Strand, stepOf } from './schedule.ts'

export type Severity = 'low' | 'medium' | 'high'

/** What has happened in a life so far, counted as its conditions see it. Bounded by points and zones, not by time. */
export class Tally {
  readonly #zones = new Map<string, Counts>()
  #outputBytes = 0

  count(point: Point, zone: string): void {
    const counts = this.#of(zone)
    counts.events.set(point, (counts.events.get(point) ?? 0) + 1)
    if (zone !== mainZone) this.count(point, mainZone)
  }

  call(zone: string): void {
    this.#of(zone).calls += 1
    if (zone !== mainZone) this.call(mainZone)
  }

  anomaly(severity: Severity, zone: string): void {
    const counts = this.#of(zone)
    counts.last = severity
    counts.anomalies += 1
    if (zone !== mainZone) this.anomaly(severity, mainZone)
  }

  output(bytes: number): void {
    this.#outputBytes += bytes
  }

  /** Of the whole: everything; of a zone: what is known to have happened in it, and the output of the whole. */
  view(strand: Strand, at: number, cpu: number | undefined): LifeView {
    const { events, last, anomalies, calls } = this.#zones.get(strand.zone) ?? nothing
    const { phase, opens } = stepOf(strand)
    const began = strand.course.steps[0]!.opens
    return {
      life: { age: at - began, phase, phaseAge: at - opens, cpu },
      events: Object.fromEntries(events),
      anomaly: { last, count: anomalies },
      output: { bytes: this.#outputBytes },
      calls,
    }
  }

  #of(zone: string): Counts {
    const known = this.#zones.get(zone)
    if (known) return known
    const counts: Counts = { events: new Map(), last: 'none', anomalies: 0, calls: 0 }
    this.#zones.set(zone, counts)
    return counts
  }
}

interface Counts {
  readonly events: Map<Point, number>
  last: Severity | 'none'
  anomalies: number
  calls: number
}

const nothing: Counts = { events: new Map(), last: 'none', anomalies: 0, calls: 0 }

/** What calls itself something else is the worst there is. */
export function severityOf(said: unknown): Severity {
  return said === 'low' || said === 'medium' ? said : 'high'
}
