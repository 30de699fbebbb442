import { MayflyError } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Mayfly } from './mayfly.ts'
import { limitsOf, valueOf } from './secure-sandbox.ts'
import { Hold } from './hold.ts'

export interface VMOptions {
  /** Milliseconds one run may take; 5,000 unless given. */
  readonly timeout?: number
  /** MB one run may use; 128 unless given. */
  readonly memoryLimit?: number
  /** Globals of every run: data that JSON can hold. */
  readonly sandbox?: Readonly<Record<string, unknown>>
  /** Used in place of the one that all sandboxes of this process share. */
  readonly mayfly?: Mayfly
}

/**
 * Scripts as vm2's `VM` takes them, each run in an isolate of its own: `run` resolves to the value of the last
 * statement. What differs from vm2 is in docs/how-to/from-vm2.md.
 *
 * @example
 * const vm = new VM({ timeout: 1000 })
 * console.log(await vm.run('1 + 1')) // 2
 */
export class VM implements AsyncDisposable {
  readonly #limits: { readonly timeout: number; readonly memory: number }
  readonly #globals: Readonly<Record<string, unknown>>
  readonly #hold: Hold
  readonly #ending = new AbortController()
  readonly #runs = new Set<Promise<Outcome>>()

  /** Throws MayflyError INVALID for options that are none, globals that are no data among them. */
  constructor(options: VMOptions = {}) {
    const { sandbox = {}, mayfly } = options
    for (const [name, value] of Object.entries(sandbox)) assertData(name, value)
    this.#limits = limitsOf(options)
    this.#globals = sandbox
    this.#hold = new Hold(mayfly)
  }

  /** Throws EffectError when the script throws, does not parse or is stopped; MayflyError when it cannot be run. */
  async run(code: string): Promise<unknown> {
    this.#ending.signal.throwIfAborted()
    const run = this.#outcome(code)
    this.#runs.add(run)
    const values = valueOf(await run.finally(() => this.#runs.delete(run)))
    return Array.isArray(values) ? (values[0] as unknown) : values
  }

  /** Ends what runs; nothing runs after it. Idempotent. */
  async destroy(): Promise<void> {
    this.#ending.abort(new MayflyError('CONFLICT', 'Cannot use the VM: it was destroyed'))
    await Promise.allSettled(this.#runs)
    await this.#hold.release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  async #outcome(code: string): Promise<Outcome> {
    const mayfly = await this.#hold.mayfly()
    return mayfly.run(
      {
        code: scriptOf(code),
        language: 'js',
        entry: 'body',
        input: this.#globals,
        limits: this.#limits,
      },
      { principal: 'vm', signal: this.#ending.signal },
    )
  }
}

/**
 * A script's value is that of its last statement, which only `eval` gives. The script stays one literal, in sight of
 * analysis. In a list `undefined` comes back as itself.
 */
function scriptOf(code: string): string {
  return `Object.assign(globalThis, input); return [await (0, eval)(${JSON.stringify(code)})]`
}

function assertData(name: string, value: unknown): void {
  if (typeof value !== 'function' && typeof value !== 'symbol') return
  const what = `Cannot take the global "${name}": expected data, not a ${typeof value}`
  throw new MayflyError('INVALID', what, { details: { path: `sandbox.${name}` } })
}
