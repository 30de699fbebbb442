import type { NetworkControl } from '../contract/controls.ts'
import type { EgressAuthority } from './authority.ts'
import type { ConnectionCaller } from './caller-lookup.ts'
import type { Credential } from './credentials.ts'
import type { DialOptions } from './dial.ts'
import type { Ledger } from './ledger.ts'

/** Conditions shared by all requests of one run. */
export interface EgressTerms extends DialOptions {
  /** Network in force; it may only get narrower. */
  readonly network: () => NetworkControl
  readonly ledger: Ledger
  /** Processes behind the connection; undefined if unknown. */
  readonly caller?: ConnectionCaller
  /** Cancels pending attempts of a closed connection; by default each request has its own. */
  readonly stop?: AbortController
  readonly credentials?: readonly Credential[]
  /** CA for TLS inspection, where rules on methods and paths or credentials need it; without it they deny https. */
  readonly authority?: EgressAuthority
  /** `every` inspects all TLS, so that no request can name a different host inside TLS (domain fronting). */
  readonly inspection?: 'needed' | 'every'
  /** Creates a check for one outgoing stream, as far as it is readable; the check returns false to block a chunk. */
  readonly makeOutboundCheck?: (() => OutboundCheck | undefined) | undefined
  /** Additional accepted CAs, in PEM. */
  readonly trust?: readonly string[]
}

export type OutboundCheck = (piece: Buffer) => boolean

/**
 * False for a name that contains a planted secret: a DNS query would send it to a name server of the attacker's
 * choice, before any byte of a request. Labels have at most 63 characters, so dots may split a secret.
 */
export function mayResolve(host: string, { makeOutboundCheck }: EgressTerms): boolean {
  const passes = makeOutboundCheck?.()
  return passes?.(Buffer.from(`${host}\n${host.replaceAll('.', '')}`)) !== false
}

export const plantedSecret = 'it carries a planted secret'
