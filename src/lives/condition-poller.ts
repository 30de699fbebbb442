import { Conditions, hasConditions, type ConditionAction } from './conditions.ts'
import { type Life, stepOf } from './schedule.ts'
import { LifeCounters } from './life-counters.ts'

/** Polling interval for conditions and CPU clocks, and minimum delay between polls after events. */
export const pollMs = 50
export const pollMsMin = 5

/** Action a condition triggers, with the zone and phase it belongs to. */
export type ZoneConditionAction = ConditionAction & {
  readonly zone: string
  readonly phase: string
}

/** Schedules the evaluation of conditions: at each tick, and soon after events, debounced by `pollMsMin`. */
export class ConditionPoller {
  readonly counters = new LifeCounters()
  readonly #conditions = new Conditions()
  #polledAt = -Infinity
  #hasNews = false

  /** Marks that an event happened; true if it is the first since the last evaluation. */
  noteEvent(): boolean {
    const isNews = !this.#hasNews
    this.#hasNews = true
    return isNews
  }

  /** Age of the life at the next evaluation; Infinity without conditions and CPU clocks. */
  nextPoll(life: Life): number {
    if (!needsPolling(life)) return Infinity
    return this.#polledAt + (this.#hasNews ? pollMsMin : pollMs)
  }

  /**
   * Yields the actions of conditions that hold now, or those of one kind, which leaves the others to the next evaluation; `cpuOf`
   * is the CPU time reported by the wall.
   */
  *poll(
    life: Life,
    cpuOf: (zone: string) => number | undefined,
    kind?: ConditionAction['kind'],
  ): Generator<ZoneConditionAction> {
    if (kind === undefined) {
      this.#hasNews = false
      this.#polledAt = life.at
    }
    for (const state of life.zones.values()) {
      if (state.end) continue
      const view = () => this.counters.view(state, life.at, cpuOf(state.zone))
      const judgement = this.#conditions.judge(stepOf(state), view)
      if (!judgement || judgement.kind !== (kind ?? judgement.kind)) continue
      this.#hasNews = true
      yield { ...judgement, zone: state.zone, phase: stepOf(state).phase }
    }
  }
}

/** True if a zone leaves a phase that has a condition. */
export function leavesConditions(before: Life, { zones: after }: Life): boolean {
  return before.zones
    .values()
    .some(
      (state) =>
        state.stepIndex !== after.get(state.zone)?.stepIndex && hasConditions(stepOf(state)),
    )
}

/** True if any open zone has a condition or a CPU clock. */
function needsPolling({ zones: states }: Life): boolean {
  return states
    .values()
    .some((state) => !state.end && (state.rules.clock || hasConditions(stepOf(state))))
}
