import type { JobFile } from '../contract/job.ts'
import type { NetworkAttempt } from '../contract/outcome.ts'
import type { TierName } from '../contract/tier.ts'

/** Custom provider. Its isolation is its author's responsibility, and not verified. */
export interface MicroVMProvider {
  /** Letters, digits, ".", "_" and "-". */
  readonly name: string | (() => string)
  /** Declared tier; default `isolate`, the weakest. */
  readonly tier?: TierName
  isAvailable(): boolean | Promise<boolean>
  /** Called once, before the first execution. */
  initialize(): void | Promise<void>
  /** Runs one call. `signal` aborts on timeout or cancellation; its result is ignored then. */
  execute(
    context: ExecutionContext,
    options: { readonly signal: AbortSignal },
  ): ExecutionResult | Promise<ExecutionResult>
  /** Called once at the end, if initialised. */
  cleanup(): void | Promise<void>
}

/** Call passed to a custom provider: plain data, deeply frozen. */
export interface ExecutionContext {
  readonly executionId: string
  readonly capabilityId: string
  /** JSON data. */
  readonly args: readonly unknown[]
  readonly code: string
  readonly language: string
  readonly files: readonly JobFile[]
  readonly config: MicroVMConfig
}

/** Patterns such as `https://api.example.com:443`; the deny list takes precedence. */
export type NetworkPolicy =
  | 'None'
  | 'Full'
  | { readonly AllowList: readonly string[]; readonly DenyList?: readonly string[] }
  | { readonly DenyList: readonly string[] }

/** Folders with everything below them. */
export type FileSystemPolicy =
  | 'None'
  | { readonly ReadOnly: readonly string[] }
  | { readonly ReadWrite: readonly string[] }

export interface ExecutionResult {
  readonly value: unknown
  readonly metadata?: ExecutionMetadata
}

/** Self-reported, passed to the outcome unverified. */
export interface ExecutionMetadata {
  /** Milliseconds of processor time. */
  readonly cpuTime?: number
  readonly memoryUsedMb?: number
  readonly networkRequests?: readonly NetworkAttempt[]
}

/** Limits of the call, in terms of `[capability_configs]`. Enforced by the provider. */
export interface MicroVMConfig {
  /** Milliseconds. Also enforced from outside. */
  readonly timeout: number
  readonly memoryLimitMb: number
  /** Cores. */
  readonly cpuLimit: number
  readonly networkPolicy: NetworkPolicy
  readonly fsPolicy: FileSystemPolicy
}
