import type { Availability } from '../contract/provider.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { MicroVMProvider } from './microvm-contract.ts'

/** Calls on an instance for other classes of the library, not for applications. */
export interface MayflyInternals {
  /** Runs an isolated capability as a job. Throws like `Mayfly.run`. */
  runCapability(
    request: JobRequest,
    of: { readonly capability: string; readonly tenant: string },
    options: { readonly signal?: AbortSignal | undefined },
  ): Promise<Outcome>
  /** Adds a custom provider, after its availability check. */
  addCustom(custom: MicroVMProvider): Promise<AddedCustom>
  /** Records a capability that did more than declared. Throws MayflyError STATE. */
  reportMisdeclared(capability: string, seen: readonly string[]): Promise<void>
}

export interface AddedCustom {
  readonly availability: Availability
  /** Cleans the provider up. Idempotent. */
  close(): Promise<void>
}
