import * as z from 'zod'
import type { Entry, Language } from './job.ts'
import type { JobRequest } from './job.ts'

/** Name by which a capability is called: `ccos.network.http-fetch`. */
export const capabilityName = z
  .string()
  .regex(
    /^[A-Za-z][A-Za-z0-9._-]{0,199}$/,
    'expected 1 to 200 letters, digits, ".", "_" or "-", the first a letter',
  )

/** Arguments of one call. */
export const callArgsMax = 100

/** The body of `POST /v1/capabilities/{name}`. */
export const capabilityCall = z
  .strictObject({ args: z.array(z.unknown()).max(callArgsMax).default([]) })
  .readonly()

/** Line of `GET /v1/capabilities`. */
export const capabilityRow = z
  .object({
    name: z.string(),
    isolated: z
      .boolean()
      .describe(
        'whether it runs in a sandbox of its own: the registry entry decides, never the caller',
      ),
    description: z.string(),
  })
  .readonly()

export type CapabilityRow = z.infer<typeof capabilityRow>

/** A function callable by name. Its entry says whether it is isolated; the caller cannot choose. */
export type Capability = SafeCapability | IsolatedCapability

/** Pure computation, run in the caller's process. */
export interface SafeCapability {
  readonly name: string
  readonly description?: string
  readonly isolated: false
  /** Trusted code. Synchronous; exceptions propagate to the caller. */
  readonly run: (...args: readonly never[]) => unknown
}

/** Runs as a job, in a sandbox of its own; its arguments are the list `input`. */
export interface IsolatedCapability {
  readonly name: string
  readonly description?: string
  readonly isolated: true
  readonly code: string
  readonly language?: Language
  readonly entry?: Entry
  /** At most what its configuration allows. */
  readonly limits?: JobRequest['limits']
  readonly network?: JobRequest['network']
  readonly files?: JobRequest['files']
}
