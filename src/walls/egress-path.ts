import type { Server } from 'node:net'
import type { Controls } from '../contract/controls.ts'
import type { NetworkAttempt } from '../contract/outcome.ts'
import type { ConnectionEnds } from '../contract/warden.ts'

/** Egress path of one run, as its sandbox uses it. `assemble/` injects the function that opens it. */
export interface EgressPath {
  /** PEM of an authority that programs have to trust, where their TLS may be looked into. */
  readonly trust: string | undefined
  /** Takes what a socket inside the wall accepts, and closes it in the end; `callers` says who opened a connection. */
  listen(listener: Server, callers?: (ends: ConnectionEnds) => Promise<readonly number[]>): void
  /** Sends a request of a guest without sockets; both as JSON. */
  fetch(text: string): Promise<string>
  readonly attempts: readonly NetworkAttempt[]
  /** Cuts what the stricter controls no longer let out, open connections too. */
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

/** The capability by which a realm without sockets fetches; it is there where a network is granted, and only there. */
export const fetchCapability = 'mayfly.fetch'
