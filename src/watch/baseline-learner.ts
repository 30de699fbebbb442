import { messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Outcome } from '../contract/outcome.ts'
import { isSingleProcess } from '../contract/tier.ts'
import type { Baseline } from './baseline.ts'
import type { BaselineKey, BaselineStore } from './baseline-store.ts'
import type { LifeFindings } from './life-watcher.ts'
import { withObservation } from './trail.ts'

/** Limit of the cache of subjects that have finished learning. */
const settledMax = 10_000

/**
 * Reads baselines for runs that begin, and learns from runs that ended. Errors of the store are reported as events and
 * never fail a job: baselines are no wall.
 */
export class BaselineLearner {
  readonly #store: () => BaselineStore
  readonly #emitter: Emitter
  readonly #settled = new Set<string>()

  constructor(store: () => BaselineStore, emitter: Emitter) {
    this.#store = store
    this.#emitter = emitter
  }

  /** A run without a readable baseline is still watched. */
  read(subject: BaselineKey, run: string): Baseline | undefined {
    try {
      return this.#store().get(subject)
    } catch (thrown) {
      this.#reportLost(subject, run, messageOf(thrown))
      return undefined
    }
  }

  learn(subject: BaselineKey, run: string, seen: LifeFindings, outcome: Outcome | undefined): void {
    try {
      this.#learnFrom(subject, run, seen, outcome)
    } catch (thrown) {
      this.#reportLost(subject, run, messageOf(thrown))
    }
  }

  #learnFrom(
    subject: BaselineKey,
    run: string,
    { trail, anomalies }: LifeFindings,
    outcome: Outcome | undefined,
  ): void {
    const name = JSON.stringify(subject)
    if (this.#settled.has(name) || !outcome || !teaches(outcome)) return
    const seen = [
      { kind: 'cpu', used: outcome.metrics.cpuTime },
      { kind: 'memory', bytes: outcome.metrics.memoryUsage?.peak ?? 0 },
      // Processes of a short run are not sampled.
      ...(isSingleProcess(outcome.tier) ? [{ kind: 'processes', now: 1 } as const] : []),
    ] as const
    const whole = seen.reduce((so, one) => withObservation(so, { seen: one }), trail)
    const came = this.#store().learn(subject, whole, anomalies)
    if (came === 'done') this.#settle(name)
    const fields = { tenant: subject.tenant, name: subject.name }
    if (came === 'learned') this.#emitter.emit('baseline/learned', fields, { run })
    if (came === 'full') this.#reportLost(subject, run, 'there is no room for another effect')
  }

  #settle(name: string): void {
    if (this.#settled.size >= settledMax) this.#settled.clear()
    this.#settled.add(name)
  }

  #reportLost({ tenant, name }: BaselineKey, run: string, because: string): void {
    this.#emitter.emit('baseline/lost', { tenant, name, because }, { run })
  }
}

/** True for a run that executed and ended by itself. */
function teaches({ status, metrics }: Outcome): boolean {
  return (
    (status === 'ok' || status === 'error') && metrics.cache !== 'hit' && metrics.executionTime > 0
  )
}
