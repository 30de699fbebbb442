import type { Control } from '../../contract/controls.ts'
import type { Encoding } from '../../contract/outcome.ts'
import type { OutcomeError } from '../../contract/outcome-error.ts'
import type { LimitCode, Task } from '../../contract/provider.ts'
import { seeded } from './seeded.ts'
import { parseJson } from '../../lib/parse-json.ts'

/**
 * Steps that a mock sandbox plays for a task, in order; it runs none of the task's code. A script without an end as its
 * last step runs until it is killed.
 */
export type Script = (task: Task) => readonly ScriptStep[]

/** `at`: milliseconds from the release of user code; late steps follow as soon as they can. */
export type ScriptStep = { readonly at?: number } & (
  | { readonly stdout: string | Uint8Array }
  | { readonly stderr: string | Uint8Array }
  /** Writes that many bytes under back-pressure. */
  | { readonly spam: number }
  | { readonly artifact: { readonly path: string; readonly bytes: Uint8Array } }
  /** Uses that many bytes; above the limit the life ends. */
  | { readonly memory: number }
  /** Sets its CPU time so far, in milliseconds. */
  | { readonly cpu: number }
  | { readonly call: { readonly name: string; readonly argsText: string } }
  | { readonly result: unknown }
  | { readonly resultText: string; readonly encoding: Encoding }
  | { readonly error: OutcomeError }
  | { readonly limit: LimitCode }
  /** Loses the wall and its job. */
  | { readonly crash: string }
)

/** Faults of the wall itself; numbers are milliseconds. */
export interface Faults {
  /** Releases user code late, or never. */
  readonly release?: number | 'never'
  /** Answers a kill late, or never, or as if the guest had finished just before it. */
  readonly kill?: number | 'never' | 'ok'
  /** Closes late, never, not at all, or all but some controls. */
  readonly tighten?: number | 'never' | 'throws' | readonly Control[]
  /** Does not end zones. */
  readonly endZone?: 'never' | 'throws'
  /** Freezes; refused by default. */
  readonly freeze?: 'works'
}

/** Prints that it is a mock and returns the input: at once, or with a seed after 0.2 to 3 ms. */
export function echo(seed?: number): Script {
  const random = seed === undefined ? () => 0 : seeded(seed)
  return (task) => {
    const result = { mock: true, echo: parseJson(task.inputText) }
    const at = seed === undefined ? 0 : 0.2 + random() * 2.8
    return [{ at, result }]
  }
}
