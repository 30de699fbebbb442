import type { Server } from 'node:net'
import type { Controls } from '../contract/controls.ts'
import type { NetworkAttempt } from '../contract/outcome.ts'
import type { ConnectionEnds } from '../contract/warden.ts'

/** Egress path of one run, as its sandbox uses it. `assemble/` injects the function that opens it. */
export interface EgressPath {
  /** PEM of the CA that programs must trust; set if their TLS may be inspected. */
  readonly trust: string | undefined
  /**
   * Serves connections of a listener inside the wall, and owns it; `callers` finds the processes behind a connection.
   * `isShared`: it listens on the host's loopback, so a connection without a caller in the wall is cut.
   */
  listen(
    listener: Server,
    callers?: (ends: ConnectionEnds) => Promise<readonly number[]>,
    isShared?: boolean,
  ): void
  /** Sends a request of a guest without sockets; both as JSON. Answers with an error soon after an abort of `stop`. */
  fetch(text: string, stop?: AbortSignal): Promise<string>
  readonly attempts: readonly NetworkAttempt[]
  /** Cuts connections that the tightened controls no longer permit, established ones included. */
  tighten(to: Controls): void
  close(): void
}

/** Loads its modules when the first job needs them. */
export type OpenEgressPath = (
  controls: Controls,
  run: string,
  more?: {
    readonly zone?: string | undefined
    /** Hosts of private networks that the profile allows. */
    readonly privateHosts?: readonly string[] | undefined
  },
) => Promise<EgressPath>

/** Capability for `fetch` of a realm without sockets; present only if a network is granted. */
export const fetchCapability = 'mayfly.fetch'
/** Name in a frame of a call by which a guest gives up the fetch with the same number. */
export const forgottenCall = 'mayfly.forget'
