import { Conditions, hasConditions, type Judgement } from './conditions.ts'
import { type Life, stepOf, type Strand, whole } from './schedule.ts'
import { Tally } from './tally.ts'

/** How often conditions and a clock of processor time are looked at, and at most how often after events. */
export const tickMs = 50
export const stirMsMin = 5

/** What a condition of a phase brings about, and whose phase it is. */
export type Judged = Judgement & { readonly zone: string; readonly phase: string }

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

  /** What conditions bring about in a life as it is; `cpu` is what the wall tells of the whole. */
  *look(life: Life, cpu: number | undefined): Generator<Judged> {
    this.#isStirred = false
    this.#looked = life.at
    for (const strand of life.strands.values()) {
      const judgement = strand.end ? undefined : this.#judge(strand, life.at, cpu)
      if (!judgement) continue
      this.#isStirred = true
      yield { ...judgement, zone: strand.zone, phase: stepOf(strand).phase }
    }
  }

  #judge(strand: Strand, at: number, cpu: number | undefined): Judgement | undefined {
    const own = strand.zone === whole ? cpu : undefined
    return this.#conditions.judge(stepOf(strand), () => this.tally.view(strand, at, own))
  }
}

/** Whether there is a condition to look at, or a clock that only the wall can read. */
function isWatchful({ strands }: Life): boolean {
  for (const strand of strands.values())
    if (!strand.end && (strand.rules.clock || hasConditions(stepOf(strand)))) return true
  return false
}
