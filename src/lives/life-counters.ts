import type { AnomalySeverity } from '../contract/anomaly.ts'
import type { LifeView } from '../contract/condition.ts'
import type { Point } from '../contract/event.ts'
import { mainZone } from '../contract/phase.ts'
import { type ZoneState, stepOf } from './schedule.ts'

/** Counters of a life, as its conditions see them. Bounded by the number of points and zones. */
export class LifeCounters {
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

  anomaly(severity: AnomalySeverity, zone: string): void {
    const counts = this.#of(zone)
    counts.last = severity
    counts.anomalies += 1
    if (zone !== mainZone) this.anomaly(severity, mainZone)
  }

  output(bytes: number): void {
    this.#outputBytes += bytes
  }

  /** Number of events of all zones, by name. */
  get events(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#of(mainZone).events)
  }

  /** `main` counts everything; a zone counts its own events, and the output of the whole. */
  view(state: ZoneState, at: number, cpu: number | undefined): LifeView {
    const { events, last, anomalies, calls } = this.#zones.get(state.zone) ?? noCounts()
    const { phase, opens } = stepOf(state)
    const began = state.plan.steps[0]!.opens
    return {
      life: { age: at - began, phase, phaseAge: at - opens, cpu },
      events: Object.fromEntries(events),
      anomaly: { last, count: anomalies },
      output: { bytes: this.#outputBytes },
      calls,
    }
  }

  #of(zone: string): Counts {
    return this.#zones.getOrInsertComputed(zone, noCounts)
  }
}

interface Counts {
  readonly events: Map<Point, number>
  last: AnomalySeverity | 'none'
  anomalies: number
  calls: number
}

const noCounts = (): Counts => ({ events: new Map(), last: 'none', anomalies: 0, calls: 0 })

/** Unknown severities count as `high` (fail closed). */
export function reportedSeverityOf(reported: unknown): AnomalySeverity {
  return reported === 'low' || reported === 'medium' ? reported : 'high'
}
