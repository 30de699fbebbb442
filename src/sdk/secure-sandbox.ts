import { types } from 'node:util'
import { MayflyError } from '../contract/error.ts'
import { codeCharactersMax, type JobRequest, type Language } from '../contract/job.ts'
import { canonicalLanguage } from '../contract/language-words.ts'
import type { Outcome } from '../contract/outcome.ts'
import { decodeTagged } from '../lib/tagged.ts'
import { EffectError } from './effect-error.ts'
import { assertKnownOptions } from './known-options.ts'
import type { Mayfly } from './mayfly.ts'
import { SharedMayfly } from './shared-mayfly.ts'

export interface SecureSandboxOptions {
  /** Memory limit of one execution in MB; default 128, minimum 8. */
  readonly memoryLimit?: number
  /** Timeout of one execution in milliseconds; default 5,000. */
  readonly timeout?: number
  /** Allows `executeWasm`, and WebAssembly in effects; default false. */
  readonly enableWasm?: boolean
  /** Tenant of the jobs; default `default`. Tenants never share a worker. */
  readonly tenant?: string
  /** Instance to use instead of the shared one; its configuration applies. */
  readonly mayfly?: Mayfly
}

export interface EffectOptions {
  readonly language?: 'js' | 'ts'
}

/** Bytes of the last execution. */
export interface MemoryUsage {
  readonly used: number
  readonly limit: number
  /** Percentage of the limit. */
  readonly percentage: number
  readonly peak: number
}

/** Named effect. Its sandbox is made for each execution and destroyed afterwards. */
interface Isolate {
  readonly ending: AbortController
  readonly runs: Set<Promise<unknown>>
  /** By `createIsolate`; another name is free again if no code was registered for it. */
  isReserved?: true
  effect?: { readonly code: string; readonly language: Language }
  last?: Outcome['metrics']['memoryUsage']
}

const MB = 2 ** 20
const isolatesMax = 10_000
/** Maximum of names of destroyed isolates that are stored; older ones become unknown. */
const destroyedMax = 10_000
const idCharsMax = 200
const wasmBytesMax = (codeCharactersMax / 4) * 3

/**
 * Effects by name; each execution gets a fresh V8 isolate in a jailed process. Code has no files, network, processes
 * or modules, and an effect keeps no state between executions.
 *
 * @example
 * await using sandbox = new SecureSandbox({ timeout: 1000 })
 * await sandbox.registerEffect('greet', 'return { hello: input.name }')
 * console.log(await sandbox.executeEffect('greet', { name: 'Ada' })) // { hello: 'Ada' }
 */
export class SecureSandbox implements AsyncDisposable {
  readonly #limits: { readonly timeout: number; readonly memory: number }
  readonly #enableWasm: boolean
  readonly #tenant: string
  readonly #hold: SharedMayfly
  readonly #isolates = new Map<string, Isolate>()
  readonly #destroyed = new Set<string>()
  #isOver = false

  /** Throws MayflyError INVALID for invalid limits, and for an option that there is not. */
  constructor(options: SecureSandboxOptions = {}) {
    assertKnownOptions(options, known)
    const { enableWasm = false, tenant = 'default' } = options
    this.#limits = limitsOf(options)
    this.#enableWasm = enableWasm
    this.#tenant = tenant
    this.#hold = new SharedMayfly(options.mayfly)
  }

  /** Reserves a name; implied by `registerEffect`. Throws MayflyError CONFLICT for an existing one. */
  async createIsolate(id: string): Promise<void> {
    this.#assertUsable(id)
    if (this.#isolates.has(id))
      throw new MayflyError('CONFLICT', `Cannot create the isolate "${id}": it exists already`)
    this.#add(id).isReserved = true
    await this.#hold.mayfly()
  }

  /**
   * Sets or replaces the code of an isolate. Throws MayflyError INVALID with line and column for a syntax error.
   * Does not judge the code; see `SandboxThreatDetector`. An isolate that is destroyed meanwhile is a CONFLICT.
   */
  async registerEffect(id: string, code: string, options: EffectOptions = {}): Promise<void> {
    assertKnownOptions(options, { language: true })
    const language = canonicalLanguage(options.language ?? 'js')
    if (language !== 'js' && language !== 'ts')
      throw new MayflyError('INVALID', 'Cannot use "language": expected "js" or "ts"')
    this.#assertUsable(id)
    const isolate = this.#isolates.get(id) ?? this.#add(id)
    try {
      await tracked(isolate, this.#register(id, isolate, { code, language }))
    } catch (thrown) {
      await this.#dropUnused(id, isolate)
      throw thrown
    }
  }

  async #register(
    id: string,
    isolate: Isolate,
    { code, language }: NonNullable<Isolate['effect']>,
  ): Promise<void> {
    const mayfly = await this.#hold.mayfly()
    const caller = { tenant: this.#tenant, effectId: id }
    const analysis = await mayfly.analyze({ code, language }, caller)
    if (analysis.kind === 'syntax-error') {
      const { message, line, column } = analysis
      throw new MayflyError(
        'INVALID',
        `Cannot register the effect "${id}": ${message} (line ${line}, column ${column})`,
        { details: { message, line, column } },
      )
    }
    this.#assertUsable(id)
    isolate.effect = { code, language }
  }

  /** Resolves to the return value; `input` is sent as JSON. Throws EffectError if the effect failed, MayflyError if it cannot run. */
  async executeEffect(id: string, input?: unknown): Promise<unknown> {
    const isolate = this.#find(id)
    if (!isolate.effect)
      throw new MayflyError('CONFLICT', `Cannot execute the effect "${id}": register it first`)
    const granted = this.#enableWasm && { capabilities: ['webassembly' as const] }
    return this.#run(isolate, { ...isolate.effect, input, ...granted })
  }

  /** Runs a module's WASI `_start`, or its export `run`, with `input`. Throws like `executeEffect`. */
  async executeWasm(id: string, wasm: Uint8Array | ArrayBuffer, input?: unknown): Promise<unknown> {
    const isolate = this.#find(id)
    if (!this.#enableWasm)
      throw new MayflyError('FORBIDDEN', 'Cannot execute WebAssembly: "enableWasm" is not set')
    return this.#run(isolate, { code: base64Of(wasm), language: 'wasm', input })
  }

  /** Memory of the last execution; zeros before the first, or if unreadable. */
  async getMemoryUsage(id: string): Promise<MemoryUsage> {
    const { used = 0, percentage = 0, peak = 0 } = this.#find(id).last ?? {}
    return { used, limit: this.#limits.memory, percentage, peak }
  }

  /** Cancels its executions and retires its name. The last one also releases the processes. Idempotent. */
  async destroyIsolate(id: string): Promise<void> {
    if (!this.#destroyed.has(id)) await this.#end(id, this.#find(id))
  }

  /** Destroys every isolate and this sandbox. Idempotent. */
  async destroy(): Promise<void> {
    this.#isOver = true
    await Promise.all([...this.#isolates].map(([id, isolate]) => this.#end(id, isolate)))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  #add(id: string): Isolate {
    if (this.#isolates.size >= isolatesMax)
      throw new MayflyError('CONFLICT', `Cannot have more than ${isolatesMax} isolates`)
    const isolate: Isolate = { ending: new AbortController(), runs: new Set() }
    this.#isolates.set(id, isolate)
    return isolate
  }

  /** Frees the name of an isolate for which no registration succeeded. */
  async #dropUnused(id: string, isolate: Isolate): Promise<void> {
    const isUsed = isolate.isReserved || isolate.effect || isolate.runs.size > 0
    if (isUsed || this.#isolates.get(id) !== isolate) return
    this.#isolates.delete(id)
    if (this.#isolates.size === 0) await this.#hold.release()
  }

  async #end(id: string, isolate: Isolate): Promise<void> {
    this.#isolates.delete(id)
    this.#destroyed.add(id)
    const [oldest] = this.#destroyed
    if (this.#destroyed.size > destroyedMax && oldest) this.#destroyed.delete(oldest)
    isolate.ending.abort()
    await Promise.allSettled(isolate.runs)
    if (this.#isolates.size === 0) await this.#hold.release()
  }

  #find(id: string): Isolate {
    this.#assertUsable(id)
    const isolate = this.#isolates.get(id)
    if (isolate) return isolate
    throw new MayflyError('NOT_FOUND', `Cannot find the isolate "${id}": register an effect first`)
  }

  #assertUsable(id: string): void {
    if (typeof id !== 'string' || id === '' || id.length > idCharsMax)
      throw new MayflyError('INVALID', `Expected an id of 1 to ${idCharsMax} characters`)
    if (this.#isOver) throw new MayflyError('CONFLICT', 'Cannot use the sandbox: it was destroyed')
    if (this.#destroyed.has(id))
      throw new MayflyError('CONFLICT', `Cannot use the isolate "${id}": it was destroyed`)
  }

  async #run(isolate: Isolate, request: JobRequest): Promise<unknown> {
    return returnValueOf(await tracked(isolate, this.#outcome(isolate, request)))
  }

  async #outcome(isolate: Isolate, request: JobRequest): Promise<Outcome> {
    const mayfly = await this.#hold.mayfly()
    const outcome = await mayfly.run(
      { ...request, limits: this.#limits },
      { tenant: this.#tenant, principal: 'secure-sandbox', signal: isolate.ending.signal },
    )
    isolate.last = outcome.metrics.memoryUsage
    return outcome
  }
}

/** Delays the end of an isolate until a run or a registration has ended. */
function tracked<T>({ runs }: Isolate, run: Promise<T>): Promise<T> {
  runs.add(run)
  return run.finally(() => runs.delete(run))
}

/**
 * Throws MayflyError INVALID for what is no bytes: of a text, a number or a list the engine would see others; TOO_LARGE for
 * a module that takes more base64 than a job may have code.
 */
function base64Of(wasm: unknown): string {
  const isView = ArrayBuffer.isView(wasm)
  if (isView || types.isAnyArrayBuffer(wasm)) {
    if (wasm.byteLength > wasmBytesMax)
      throw new MayflyError(
        'TOO_LARGE',
        `Cannot execute WebAssembly: the module has ${wasm.byteLength} bytes, and ${wasmBytesMax} is the maximum`,
      )
    const bytes = isView
      ? Buffer.from(wasm.buffer, wasm.byteOffset, wasm.byteLength)
      : Buffer.from(wasm)
    return bytes.toString('base64')
  }
  throw new MayflyError(
    'INVALID',
    'Cannot execute WebAssembly: expected the bytes of a module, as a Uint8Array or an ArrayBuffer',
  )
}

const known: Readonly<Record<keyof SecureSandboxOptions, true>> = {
  memoryLimit: true,
  timeout: true,
  enableWasm: true,
  tenant: true,
  mayfly: true,
}

/** Throws MayflyError INVALID for invalid limits. */
export function limitsOf({
  memoryLimit = 128,
  timeout = 5_000,
}: Pick<SecureSandboxOptions, 'memoryLimit' | 'timeout'>) {
  assertWhole('memoryLimit', memoryLimit, 8, 2 ** 20)
  assertWhole('timeout', timeout, 1, 86_400_000)
  return { timeout, memory: memoryLimit * MB }
}

/** Return value with its types, including dates, maps and big integers. */
export function returnValueOf(outcome: Outcome): unknown {
  if (outcome.status !== 'ok') throw new EffectError(outcome)
  return outcome.encoding === 'tagged' ? decodeTagged(outcome.result) : outcome.result
}

function assertWhole(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  throw new MayflyError(
    'INVALID',
    `Cannot use "${name}": expected a whole number from ${min} to ${max}`,
    {
      details: { path: name, min, max },
    },
  )
}
