import { MayflyError, messageOf } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import { assertKnownOptions } from './known-options.ts'
import type { Mayfly } from './mayfly.ts'
import { limitsOf, returnValueOf } from './secure-sandbox.ts'
import { SharedMayfly } from './shared-mayfly.ts'

export interface VMOptions {
  /** Timeout of one run in milliseconds; default 5,000. */
  readonly timeout?: number
  /** Memory limit of one run in MB; default 128. */
  readonly memoryLimit?: number
  /** Globals of every run: JSON data. */
  readonly sandbox?: Readonly<Record<string, unknown>>
  /** Instance to use instead of the shared one. */
  readonly mayfly?: Mayfly
}

/**
 * Runs scripts like the `VM` of vm2, each in its own isolate: `run` resolves to the value of the last statement.
 * Differences from vm2: docs/how-to/from-vm2.md.
 *
 * @example
 * const vm = new VM({ timeout: 1000 })
 * console.log(await vm.run('1 + 1')) // 2
 */
export class VM implements AsyncDisposable {
  readonly #limits: { readonly timeout: number; readonly memory: number }
  readonly #globals: Readonly<Record<string, unknown>>
  readonly #hold: SharedMayfly
  readonly #ending = new AbortController()
  readonly #runs = new Set<Promise<Outcome>>()

  /** Throws MayflyError INVALID for invalid or unknown options, and for globals that are no data. */
  constructor(options: VMOptions = {}) {
    assertKnownOptions(options, {
      timeout: true,
      memoryLimit: true,
      sandbox: 'object',
      mayfly: true,
    })
    const { sandbox = {}, mayfly } = options
    for (const [name, value] of Object.entries(sandbox)) assertData(name, value)
    this.#limits = limitsOf(options)
    this.#globals = sandbox
    this.#hold = new SharedMayfly(mayfly)
  }

  /** Throws EffectError if the script throws, has a syntax error or is stopped; MayflyError if it cannot run. */
  async run(code: string): Promise<unknown> {
    this.#ending.signal.throwIfAborted()
    const run = this.#outcome(code)
    this.#runs.add(run)
    const values = returnValueOf(await run.finally(() => this.#runs.delete(run)))
    return Array.isArray(values) ? (values[0] as unknown) : values
  }

  /** Cancels runs and refuses new ones. Idempotent. */
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
 * Uses `eval`, which returns the value of the last statement. The script stays one literal, visible to analysis. The
 * list preserves `undefined`.
 */
function scriptOf(code: string): string {
  return `Object.assign(globalThis, input); return [await (0, eval)(${JSON.stringify(code)})]`
}

/** JSON would leave out functions and symbols, also deep within a global. */
function assertData(name: string, value: unknown): void {
  try {
    JSON.stringify(value, (_key, one: unknown) => {
      if (typeof one !== 'function' && typeof one !== 'symbol') return one
      throw new TypeError(`expected data, not a ${typeof one}`)
    })
  } catch (cause) {
    const problem = `Cannot use the global "${name}": ${messageOf(cause)}`
    throw new MayflyError('INVALID', problem, { cause, details: { path: `sandbox.${name}` } })
  }
}
