import { type Condition, type LifeView, readCondition } from '../contract/condition.ts'
import { messageOf } from '../contract/error.ts'
import type { Step } from './course.ts'

/** What a condition brings about; `failed` says why it came to no answer. */
export interface Judgement {
  readonly kind: 'advance' | 'terminate'
  readonly reason: string
  readonly failed?: string
}

/**
 * Conditions of phases, each read once. One that comes to no answer counts as one that holds: of what is unknown the
 * stricter branch is taken, which is the next phase for `advance_if` and the end for `terminate_if`.
 */
export class Conditions {
  readonly #read = new Map<string, Condition>()

  /** What the conditions of a phase bring about now; the end goes before the next phase. */
  judge(step: Step, view: () => LifeView): Judgement | undefined {
    if (!hasConditions(step)) return undefined
    const { terminateIf, advanceIf } = step
    const seen = view()
    return this.#ask('terminate', terminateIf, seen) ?? this.#ask('advance', advanceIf, seen)
  }

  #ask(kind: Judgement['kind'], text: string | undefined, view: LifeView): Judgement | undefined {
    if (text === undefined) return undefined
    const reason = `${kind}_if ${text}`
    try {
      return this.#conditionOf(text).holds(view) ? { kind, reason } : undefined
    } catch (thrown) {
      const failed = messageOf(thrown).split('\n', 1)[0]!
      return { kind, reason: `${reason}: ${failed}`, failed }
    }
  }

  #conditionOf(text: string): Condition {
    const known = this.#read.get(text)
    if (known) return known
    const condition = readCondition(text)
    this.#read.set(text, condition)
    return condition
  }
}

export function hasConditions({ advanceIf, terminateIf }: Step): boolean {
  return advanceIf !== undefined || terminateIf !== undefined
}
