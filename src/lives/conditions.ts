import { type Condition, type LifeView, readCondition } from '../contract/condition.ts'
import { messageOf } from '../contract/error.ts'
import type { PhaseStep } from './phase-plan.ts'

/** Action of a condition; `failed` is the error if it could not be evaluated. */
export interface ConditionAction {
  readonly kind: 'advance' | 'terminate'
  readonly reason: string
  readonly failed?: string
}

/**
 * Conditions of phases, parsed once and cached. One that fails to evaluate counts as true (fail closed): the next
 * phase for `advance_if`, the end for `terminate_if`.
 */
export class Conditions {
  readonly #parsed = new Map<string, Condition>()

  /** Action due in this phase; `terminate_if` takes precedence. */
  judge(step: PhaseStep, view: () => LifeView): ConditionAction | undefined {
    if (!hasConditions(step)) return undefined
    const { terminateIf, advanceIf } = step
    const seen = view()
    return (
      this.#evaluate('terminate', terminateIf, seen) ?? this.#evaluate('advance', advanceIf, seen)
    )
  }

  #evaluate(
    kind: ConditionAction['kind'],
    text: string | undefined,
    view: LifeView,
  ): ConditionAction | undefined {
    if (text === undefined) return undefined
    const reason = `${kind}_if ${text}`
    try {
      const condition = this.#parsed.getOrInsertComputed(text, readCondition)
      return condition.holds(view) ? { kind, reason } : undefined
    } catch (thrown) {
      const failed = messageOf(thrown).split('\n', 1)[0]!
      return { kind, reason: `${reason}: ${failed}`, failed }
    }
  }
}

export function hasConditions({ advanceIf, terminateIf }: PhaseStep): boolean {
  return advanceIf !== undefined || terminateIf !== undefined
}
