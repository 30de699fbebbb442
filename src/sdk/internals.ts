import type { Availability } from '../contract/provider.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { MicroVMProvider } from './microvm-contract.ts'

/** Calls on an instance that other classes of the library need, and applications do not. */
export interface MayflyInternals {
  /** Runs an isolated capability as a job. Throws as `Mayfly.run` does. */
  runCapability(
    request: JobRequest,
    of: { readonly capability: string; readonly tenant: string },
    options: { readonly signal?: AbortSignal | undefined },
  ): Promise<Outcome>
  /** Adds a custom provider, after asking whether it is available. */
  addCustom(custom: MicroVMProvider): Promise<AddedCustom>
  /** Records a capability that did more than it was declared to. Throws MayflyError STATE. */
  reportMisdeclared(capability: string, seen: readonly string[]): Promise<void>
}

export interface AddedCustom {
  readonly availability: Availability
  /** Cleans the provider up. Idempotent. */
  close(): Promise<void>
}
