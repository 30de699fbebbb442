import type { Config } from '../contract/config.ts'
import type { Job } from '../contract/job.ts'
import type { Plan } from '../contract/pipeline.ts'
import type { Verdict } from '../contract/verdict.ts'
import type { ProviderFacts } from './choose-tier.ts'
import { sizesOf } from './surroundings.ts'

const PLANS_MAX = 1000
const KEY_LENGTH_MAX = 4096

interface Asked {
  readonly job: Job
  readonly verdict: Verdict
  readonly config: Config
  readonly facts: readonly ProviderFacts[]
}

/**
 * Plans made before, the one unused for longest forgotten first, all of them once the configuration or the facts
 * change. A plan that ends in blocked lists findings, which the key does not hold, so it is made anew each time.
 */
export class PlanMemo {
  readonly #plans = new Map<string, Plan>()
  #config: Config | undefined
  #facts = ''

  plan(asked: Asked, make: () => Plan): Plan {
    this.#forgetStale(asked)
    const key = keyOf(asked)
    const known = this.#plans.get(key)
    const plan = known ?? make()
    if (known) this.#plans.delete(key)
    if (key.length <= KEY_LENGTH_MAX && plan.kind !== 'blocked') this.#plans.set(key, plan)
    if (this.#plans.size > PLANS_MAX) this.#plans.delete(this.#plans.keys().next().value!)
    return plan
  }

  #forgetStale({ config, facts }: Asked): void {
    const now = JSON.stringify(facts)
    if (config === this.#config && now === this.#facts) return
    this.#plans.clear()
    this.#config = config
    this.#facts = now
  }
}

/** Everything of a job and a verdict that a plan reads; two that differ in nothing else share it. */
function keyOf({ job, verdict }: Asked): string {
  const { asked } = job
  return JSON.stringify([
    job.tenant,
    job.origin,
    job.capability,
    job.packages,
    verdict.digest,
    verdict.risk,
    verdict.signatureValid,
    verdict.language,
    verdict.entry,
    asked.language,
    asked.entry,
    asked.tier,
    asked.floor,
    asked.provider,
    asked.schedule,
    asked.limits,
    asked.network,
    asked.capabilities,
    asked.output,
    asked.capture,
    asked.trace,
    asked.files.length > 0,
    asked.calls !== undefined,
    sizesOf(asked),
  ])
}
