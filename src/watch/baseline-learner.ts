import { messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Outcome } from '../contract/outcome.ts'
import { isSingleProcess } from '../contract/tier.ts'
import { isLearning, type Baseline } from './baseline.ts'
import type { BaselineKey, BaselineStore } from './baseline-store.ts'
import type { LifeFindings } from './life-watcher.ts'
import { withObservation } from './trail.ts'

/** Limit of the cache of subjects that have finished learning. */
const learnedMax = 10_000

/**
 * Reads baselines for starting runs, and learns from ended ones. Errors of the store are reported as events and never
 * fail a job: baselines enforce nothing.
 */
export class BaselineLearner {
  readonly #store: () => BaselineStore
  readonly #emitter: Emitter
  readonly #learned = new Set<string>()

  constructor(store: () => BaselineStore, emitter: Emitter) {
    this.#store = store
    this.#emitter = emitter
  }

  /**
   * Undefined if there is none or it is unreadable; the run is watched all the same. Learning goes on if another process has
   * reset the baseline.
   */
  read(subject: BaselineKey, run: string): Baseline | undefined {
    try {
      const baseline = this.#store().get(subject)
      if (!baseline || isLearning(baseline)) this.#learned.delete(JSON.stringify(subject))
      return baseline
    } catch (thrown) {
      this.#reportFailure(subject, run, messageOf(thrown))
      return undefined
    }
  }

  learn(subject: BaselineKey, run: string, seen: LifeFindings, outcome: Outcome | undefined): void {
    try {
      this.#learnFrom(subject, run, seen, outcome)
    } catch (thrown) {
      this.#reportFailure(subject, run, messageOf(thrown))
    }
  }

  #learnFrom(
    subject: BaselineKey,
    run: string,
    { trail, anomalies }: LifeFindings,
    outcome: Outcome | undefined,
  ): void {
    const name = JSON.stringify(subject)
    if (this.#learned.has(name) || !outcome || !isLearnable(outcome)) return
    const seen = [
      { kind: 'cpu', used: outcome.metrics.cpuTime },
      { kind: 'memory', bytes: outcome.metrics.memoryUsage?.peak ?? 0 },
      // Processes of a short run are not sampled.
      ...(isSingleProcess(outcome.tier) ? [{ kind: 'processes', now: 1 } as const] : []),
    ] as const
    const complete = seen.reduce((so, one) => withObservation(so, { seen: one }), trail)
    const result = this.#store().learn(subject, complete, anomalies)
    if (result === 'done') this.#markLearned(name)
    const fields = { tenant: subject.tenant, name: subject.name }
    if (result === 'learned') this.#emitter.emit('baseline/learned', fields, { run })
    if (result === 'full')
      this.#reportFailure(subject, run, 'the tenant has reached its limit of baselines')
  }

  #markLearned(name: string): void {
    if (this.#learned.size >= learnedMax) this.#learned.clear()
    this.#learned.add(name)
  }

  #reportFailure({ tenant, name }: BaselineKey, run: string, because: string): void {
    this.#emitter.emit('baseline/lost', { tenant, name, because }, { run })
  }
}

/** True for a run that executed and ended by itself. */
function isLearnable({ status, metrics }: Outcome): boolean {
  return (
    (status === 'ok' || status === 'error') && metrics.cache !== 'hit' && metrics.executionTime > 0
  )
}
