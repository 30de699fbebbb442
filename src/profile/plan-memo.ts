import type { Config } from '../contract/config.ts'
import type { ImageAnswers } from '../contract/image-reference.ts'
import type { Job } from '../contract/job.ts'
import type { Plan } from '../contract/pipeline.ts'
import type { Verdict } from '../contract/verdict.ts'
import type { ProviderFacts } from './choose-tier.ts'
import { sizesOf } from './program-inputs.ts'
import { restraintRisk } from './restrain-limits.ts'

const PLANS_MAX = 1000
const KEY_LENGTH_MAX = 4096

interface PlanInputs {
  readonly job: Job
  readonly verdict: Verdict
  readonly config: Config
  readonly facts: readonly ProviderFacts[]
  readonly images?: ImageAnswers | undefined
}

type LastPlan = Pick<PlanInputs, 'job' | 'verdict' | 'images'> & { readonly plan: Plan }

/**
 * LRU cache of plans, cleared when configuration or facts change. Plans that end blocked list findings, which are not
 * part of the key, and are not cached.
 */
export class PlanMemo {
  readonly #plans = new Map<string, Plan>()
  #config: Config | undefined
  #list: readonly ProviderFacts[] | undefined
  #facts = ''
  /** Plan of the last job: the pipeline plans each job twice, before it proves walls and again to run it. */
  #last: LastPlan | undefined

  plan(asked: PlanInputs, make: () => Plan): Plan {
    this.#forgetStale(asked)
    const { job, verdict, images } = asked
    const last = this.#last
    if (last?.job === job && last.verdict === verdict && last.images === images) return last.plan
    const plan = this.#planByKey(asked, make)
    this.#last = { job, verdict, images, plan }
    return plan
  }

  #planByKey(asked: PlanInputs, make: () => Plan): Plan {
    const key = keyOf(asked)
    const known = this.#plans.get(key)
    const plan = known ?? make()
    if (known) this.#plans.delete(key)
    if (key.length <= KEY_LENGTH_MAX && plan.kind !== 'blocked') this.#plans.set(key, plan)
    if (this.#plans.size > PLANS_MAX) this.#plans.delete(this.#plans.keys().next().value!)
    return plan
  }

  #forgetStale({ config, facts }: PlanInputs): void {
    if (config === this.#config && facts === this.#list) return
    this.#list = facts
    this.#last = undefined
    const now = JSON.stringify(facts)
    if (config === this.#config && now === this.#facts) return
    this.#plans.clear()
    this.#config = config
    this.#facts = now
  }
}

/** All fields of job and verdict that a plan depends on. */
function keyOf({ job, verdict, images = new Map() }: PlanInputs): string {
  const { asked } = job
  return JSON.stringify([
    job.tenant,
    job.origin,
    job.capability,
    job.session?.kind,
    job.packages,
    verdict.digest,
    verdict.risk,
    restraintRisk(verdict),
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
    asked.image,
    [...images],
    asked.files.length > 0,
    asked.calls !== undefined,
    sizesOf(asked),
  ])
}
