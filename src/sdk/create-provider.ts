import { randomUUID } from 'node:crypto'
import { controlsBeyond, type Control, type Controls } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type {
  Ability,
  Availability,
  Capture,
  Enforced,
  KillCause,
  Provider,
  Receipt,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
} from '../contract/provider.ts'
import { strengthOf, type TierName } from '../contract/tier.ts'
import { assertKnownOptions, type OptionKind } from './known-options.ts'

/** Options of `createProvider`: a provider whose sandbox is one function call. */
export interface OneCallProvider {
  readonly name: string
  /** Claims the strength of the tier; `none` claims nothing. */
  readonly tier: TierName
  readonly languages: readonly Language[]
  /** Controls that `run` enforces by itself; none by default. */
  readonly enforces?: readonly Control[]
  readonly can?: readonly Ability[]
  readonly isByNameAlone?: boolean
  /** Layers of its wall, and missing ones, for `mayfly providers`. */
  readonly layers?: readonly string[]
  readonly missing?: readonly string[]
  /** Mechanism that enforces each bound of a job, if any: `cgroup`, `rlimit` … */
  readonly held?: Readonly<Record<string, string>>
  /** Runs a real guest; without it the provider is always available. */
  detect?(): Promise<Availability>
  /**
   * Runs one task to its end. The signal aborts when the task must end at once, at its timeout or cancellation; its result is
   * ignored then. A throw means a broken wall; an error of the code is a result.
   */
  run(task: Task, io: OutputIo, life: RunLife): Promise<RunEnd>
}

export interface RunLife {
  readonly profile: Profile
  readonly signal: AbortSignal
}

/** Receiver of output. A returned promise is back-pressure. */
export type OutputIo = Omit<TaskIo, 'released' | 'stopped'>

/**
 * Result of a task. Without a status the exit code decides: 0 is ok, another one an error, and null, as for a killed
 * process, a lost wall. Without either it is ok.
 */
export type RunEnd = Partial<Omit<TaskEnd, 'status' | 'exitCode'>> & {
  readonly status?: 'ok' | 'error' | 'failed'
  readonly exitCode?: number | null
}

/**
 * Makes a provider from one function, and implements the rest of the contract: a sandbox is used once, ends at a kill from any
 * state, and reports unsupported operations. Throws MayflyError INVALID for a member that there is not.
 *
 * @example
 * const echo = createProvider({
 *   name: 'echo',
 *   tier: 'none',
 *   languages: ['sh'],
 *   run: async ({ inputText }) => ({ resultText: inputText }),
 * })
 */
export function createProvider(parts: OneCallProvider): Provider {
  assertKnownOptions(parts, knownParts)
  const { name, tier, languages, enforces = [], can = [], layers = [], missing = [] } = parts
  const available = { available: true, strength: strengthOf[tier], layers, missing } as const
  return {
    name,
    tier,
    languages,
    enforces,
    tightens: [],
    can,
    ...(parts.isByNameAlone && { isByNameAlone: true }),
    detect: () => parts.detect?.() ?? Promise.resolve(available),
    launch: (profile) => Promise.resolve(new OneCallSandbox(parts, profile)),
  }
}

const knownParts: Readonly<Record<keyof OneCallProvider, OptionKind>> = {
  name: 'text',
  tier: true,
  languages: true,
  enforces: true,
  can: true,
  isByNameAlone: true,
  layers: true,
  missing: true,
  held: true,
  detect: 'function',
  run: 'function',
}

/** Forwards output of a child process, with back-pressure, until both of its streams end. */
export async function passOutput(
  { stdout, stderr }: Readonly<Record<'stdout' | 'stderr', AsyncIterable<unknown> | null>>,
  io: Pick<OutputIo, 'stdout' | 'stderr'>,
): Promise<void> {
  await Promise.all([
    pass(stdout, (chunk) => io.stdout(chunk)),
    pass(stderr, (chunk) => io.stderr(chunk)),
  ])
}

async function pass(from: AsyncIterable<unknown> | null, take: TaskIo['stdout']): Promise<void> {
  for await (const chunk of from ?? []) await take(chunk as Uint8Array)
}

class OneCallSandbox implements Sandbox {
  readonly id: string
  readonly provider: string
  readonly image: string
  readonly held?: Readonly<Record<string, string>>
  readonly pool = 'none'
  receipt: Receipt | undefined
  readonly #parts: OneCallProvider
  readonly #profile: Profile
  readonly #ending = new AbortController()
  readonly #end = Promise.withResolvers<TaskEnd>()
  #isUsed = false
  #isOver = false

  constructor(parts: OneCallProvider, profile: Profile) {
    this.id = `${parts.name}_${randomUUID()}`
    this.provider = parts.name
    this.image = profile.image
    if (parts.held) this.held = parts.held
    this.#parts = parts
    this.#profile = profile
  }

  run(task: Task, io: TaskIo): Promise<TaskEnd> {
    if (this.#isUsed || this.receipt)
      return Promise.reject(
        new MayflyError('CONFLICT', 'Cannot run a task: a sandbox is used once'),
      )
    this.#isUsed = true
    if (!this.#isOver) void this.#execute(task, io)
    return this.#end.promise
  }

  async #execute(task: Task, io: TaskIo): Promise<void> {
    const { timeout } = this.#profile.limits
    const late = setTimeout(() => this.kill({ status: 'timeout' }), timeout)
    try {
      io.released()
      const life = { profile: this.#profile, signal: this.#ending.signal }
      this.#finish(endOf(await this.#parts.run(task, this.#whileRunning(io), life)))
    } catch (thrown) {
      const error = { code: 'WALL_LOST', message: messageOf(thrown) }
      this.#finish({ status: 'failed', error })
    } finally {
      clearTimeout(late)
    }
  }

  /** Drops output after the end of the task. */
  #whileRunning({ stdout, stderr, call, answered }: TaskIo): OutputIo {
    const unless =
      <T extends unknown[]>(take: (...args: T) => void | Promise<void>) =>
      (...args: T) =>
        this.#isOver ? undefined : take(...args)
    return {
      stdout: unless(stdout),
      stderr: unless(stderr),
      ...(call && { call }),
      ...(answered && { answered }),
    }
  }

  tighten(to: Controls): Promise<Enforced> {
    const { controls } = this.#profile
    if (controlsBeyond(to, controls).length > 0)
      return Promise.reject(new MayflyError('CONFLICT', 'Cannot loosen a sandbox'))
    return Promise.resolve({ controls, took: 0, unenforced: controlsBeyond(controls, to) })
  }

  freeze(): Promise<void> {
    const problem = `Cannot freeze a sandbox of "${this.provider}"`
    return Promise.reject(new MayflyError('UNAVAILABLE', problem))
  }

  thaw(): Promise<void> {
    return this.freeze()
  }

  watch(): void {}

  capture(): Promise<Capture> {
    return Promise.resolve({ kind: 'none', parts: [] })
  }

  kill(cause: KillCause): void {
    if (this.#isOver) return
    const code = cause.status === 'limit' ? cause.code : cause.status.toUpperCase()
    this.#finish({
      status: cause.status,
      error: { code, message: `The task ended as ${cause.status}` },
    })
    this.#ending.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill({ status: 'terminated', reason: 'The sandbox was destroyed' })
    this.receipt ??= { id: this.id, took: 0, freedBytes: 0, forced: [] }
  }

  #finish(end: Pick<TaskEnd, 'status'> & Partial<TaskEnd>): void {
    this.#isOver = true
    this.#end.resolve({ resultText: 'null', encoding: 'json', cpuTime: 0, artifacts: [], ...end })
  }
}

function endOf({ status, resultText, exitCode, error, ...more }: RunEnd) {
  const ended = status ?? statusOf(exitCode)
  const known = { ...more, ...(typeof exitCode === 'number' && { exitCode }) }
  if (ended === 'ok') return { ...known, status: ended, resultText: resultText || 'null' }
  const code = ended === 'failed' ? 'WALL_LOST' : 'USER_ERROR'
  const message =
    exitCode === null ? 'The program was killed' : `The program exited with ${exitCode}`
  return { ...known, status: ended, error: error ?? { code, message } }
}

function statusOf(exitCode: number | null | undefined): 'ok' | 'error' | 'failed' {
  if (exitCode === null) return 'failed'
  return exitCode === undefined || exitCode === 0 ? 'ok' : 'error'
}
