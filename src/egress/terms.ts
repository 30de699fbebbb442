import type { NetworkControl } from '../contract/controls.ts'
import type { Authority } from './authority.ts'
import type { Caller } from './callers.ts'
import type { Credential } from './credentials.ts'
import type { DialOptions } from './dns.ts'
import type { Ledger } from './ledger.ts'

/** What holds for everything that one run asks for. */
export interface Terms extends DialOptions {
  /** The network in force; it may only get narrower from one call to the next. */
  readonly network: () => NetworkControl
  readonly ledger: Ledger
  /** Whose connection it is; left out, nobody can say. */
  readonly caller?: Caller
  /** Gives up what is being opened for a connection that is no more; left out, each request has one of its own. */
  readonly stop?: AbortController
  readonly credentials?: readonly Credential[]
  /** Looks into TLS where rules on methods and paths or credentials need it; without one they deny https. */
  readonly authority?: Authority
  /** `every` looks into all TLS, so that a request cannot name one host outside and another inside. */
  readonly look?: 'needed' | 'every'
  /** Makes what hears one stream that leaves, as far as it can be read: false for a piece that may not pass. */
  readonly heed?: (() => Heed | undefined) | undefined
  /** PEM of authorities that servers may have besides the well-known ones. */
  readonly trust?: readonly string[]
}

export type Heed = (piece: Buffer) => boolean
