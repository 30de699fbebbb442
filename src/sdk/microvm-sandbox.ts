import { plainFiles } from '../contract/files.ts'
import type { Clock } from '../contract/clock.ts'
import { controlsBeyond, grantsNetwork, type Controls } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Profile } from '../contract/profile.ts'
import type {
  Capture,
  Enforced,
  KillCause,
  Receipt,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
} from '../contract/provider.ts'
import { deepFreeze } from '../lib/deep-freeze.ts'
import { newId } from '../lib/id.ts'
import { encodeTagged } from '../lib/tagged.ts'
import type {
  ExecutionContext,
  ExecutionResult,
  FileSystemPolicy,
  MicroVMProvider,
  NetworkPolicy,
} from './microvm-contract.ts'
import { parseJson } from '../lib/parse-json.ts'

const MB = 2 ** 20

interface Parts {
  readonly custom: MicroVMProvider
  readonly profile: Profile
  readonly clock: Clock
}

/** Call on a custom provider. Only its timeout is enforced here. */
export class MicroVMSandbox implements Sandbox {
  readonly id: string
  readonly provider: string
  readonly image: string
  readonly pool = 'none'
  /** Declared by the author. */
  readonly held = { memory: 'custom', cpu: 'custom', network: 'custom', files: 'custom' } as const
  receipt: Receipt | undefined
  readonly #parts: Parts
  readonly #ending = new AbortController()
  readonly #end = Promise.withResolvers<TaskEnd>()
  #hasRun = false

  constructor(parts: Parts) {
    const { profile, clock } = parts
    this.#parts = parts
    this.id = newId('custom', clock.date())
    this.provider = profile.provider
    this.image = profile.image
  }

  run(task: Task, io: TaskIo): Promise<TaskEnd> {
    if (this.#hasRun || this.receipt)
      throw new MayflyError('CONFLICT', 'Cannot run a second task: a sandbox is used once')
    this.#hasRun = true
    io.released()
    void this.#execute(task)
    return this.#end.promise
  }

  tighten(to: Controls): Promise<Enforced> {
    const { controls } = this.#parts.profile
    return Promise.resolve({ controls, took: 0, unenforced: controlsBeyond(controls, to) })
  }

  freeze(): Promise<void> {
    return Promise.reject(new MayflyError('UNAVAILABLE', 'Cannot freeze on a custom provider'))
  }

  thaw(): Promise<void> {
    return this.freeze()
  }

  watch(): void {}

  capture(): Promise<Capture> {
    return Promise.resolve({ kind: 'none', parts: [] })
  }

  kill(cause: KillCause): void {
    this.#ending.abort()
    const code = cause.status === 'limit' ? cause.code : cause.status.toUpperCase()
    this.#finish({ status: cause.status, error: { code, message: `It ended as ${cause.status}` } })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.receipt) return
    this.receipt = { id: this.id, took: 0, freedBytes: 0, forced: [] }
    this.kill({ status: 'terminated', reason: 'It was destroyed' })
  }

  async #execute(task: Task): Promise<void> {
    const { custom, profile } = this.#parts
    try {
      const context = contextOf(task, profile)
      this.#answer(await custom.execute(context, { signal: this.#ending.signal }))
    } catch (thrown) {
      this.#finish({ status: 'error', error: { code: 'USER_ERROR', message: messageOf(thrown) } })
    }
  }

  #answer({ value, metadata = {} }: ExecutionResult): void {
    const { text, encoding } = encodeTagged(value)
    const { cpuTime = 0, memoryUsedMb, networkRequests } = metadata
    const used = memoryUsedMb === undefined ? undefined : memoryUsedMb * MB
    this.#finish({
      status: 'ok',
      resultText: text,
      encoding,
      cpuTime,
      ...(used !== undefined && { memory: { used, peak: used } }),
      ...(networkRequests && { network: networkRequests }),
    })
  }

  /** Only the first end counts. */
  #finish(end: Pick<TaskEnd, 'status'> & Partial<TaskEnd>): void {
    this.#end.resolve({ resultText: 'null', encoding: 'json', cpuTime: 0, artifacts: [], ...end })
  }
}

function contextOf(task: Task, { controls, limits, capability = '' }: Profile): ExecutionContext {
  const input = parseJson(task.inputText)
  return deepFreeze({
    executionId: task.run,
    capabilityId: capability,
    args: Array.isArray(input) ? input : [input],
    code: task.code,
    language: task.language,
    files: structuredClone(plainFiles(task.files)),
    config: {
      timeout: limits.timeout,
      memoryLimitMb: controls.memory / MB,
      cpuLimit: controls.cpu,
      networkPolicy: networkPolicyOf(controls.network),
      fsPolicy: fsPolicyOf(controls.files),
    },
  })
}

function networkPolicyOf(network: Controls['network']): NetworkPolicy {
  const { allow, deny } = network
  if (!grantsNetwork(network)) return 'None'
  if (allow === 'any') return deny.length === 0 ? 'Full' : { DenyList: [...deny] }
  return { AllowList: [...allow], ...(deny.length > 0 && { DenyList: [...deny] }) }
}

/** Write access includes read access in this vocabulary; grants never separate them. */
function fsPolicyOf({ read, write }: Controls['files']): FileSystemPolicy {
  if (write.length > 0) return { ReadWrite: [...write] }
  return read.length > 0 ? { ReadOnly: [...read] } : 'None'
}
