import { Conditions, hasConditions, type Judgement } from './conditions.ts'
import { type Life, stepOf, type Strand } from './schedule.ts'
import { Tally } from './tally.ts'

/** How often conditions and a clock of processor time are looked at, and at most how often after events. */
export const tickMs = 50
export const stirMsMin = 5

/** What a condition of a phase brings about, and whose phase it is. */
export type Judged = Judgement & { readonly zone: string; readonly phase: string }

type CpuOf = (zone: string) => number | undefined

/** Looks at what happened: at each tick, soon after something did, and not at each of a thousand things at once. */
export class Attention {
  readonly tally = new Tally()
  readonly #conditions = new Conditions()
  #looked = -Infinity
  #isStirred = false

  /** Something happened. Whether that is news since it last looked. */
  stir(): boolean {
    const isNews = !this.#isStirred
    this.#isStirred = true
    return isNews
  }

  /** When to look next, as an age of the life; never where there is nothing to look at. */
  nextLook(life: Life): number {
    if (!isWatchful(life)) return Infinity
    return this.#looked + (this.#isStirred ? stirMsMin : tickMs)
  }

  /** What conditions bring about in a life as it is; `cpuOf` is what the wall tells of a zone. */
  *look(life: Life, cpuOf: CpuOf): Generator<Judged> {
    this.#isStirred = false
    this.#looked = life.at
    for (const strand of life.strands.values()) {
      const judgement = strand.end ? undefined : this.#judge(strand, life.at, cpuOf)
      if (!judgement) continue
      this.#isStirred = true
      yield { ...judgement, zone: strand.zone, phase: stepOf(strand).phase }
    }
  }

  #judge(strand: Strand, at: number, cpuOf: CpuOf): Judgement | undefined {
    const view = () => this.tally.view(strand, at, cpuOf(strand.zone))
    return this.#conditions.judge(stepOf(strand), view)
  }
}

/** Whether there is a condition to look at, or a clock that only the wall can read. */
function isWatchful({ strands }: Life): boolean {
  for (const strand of strands.values())
    if (!strand.end && (strand.rules.clock || hasConditions(stepOf(strand)))) return true
  return false
}
