import { networkInterfaces } from 'node:os'
import { addressKind, closedName } from '../contract/address.ts'
import { readPattern } from '../contract/pattern.ts'
import { addressOf } from './host.ts'
import { decide, type EgressRequest } from './rules.ts'

/**
 * Private addresses, opened by operator rules only. A rule with `private = true` for a name or address opens private
 * networks to the requests it covers; written as an address with its port it opens this machine too, at exactly that
 * address and port. Link-local, metadata, multicast and reserved addresses, embedded addresses, and Mayfly's own ports always
 * stay closed.
 */
export type PrivateReach = 'none' | 'network' | 'exact'

/** Reach of the operator rules for this request; unseen parts count as all their possible values. */
export function privateReach(request: EgressRequest, hosts: readonly string[]): PrivateReach {
  const isPermittedBy = (allow: readonly string[]) =>
    decide({ allow, deny: [] }, request).verdict === 'allowed'
  if (hosts.length === 0 || !isPermittedBy(hosts)) return 'none'
  if (addressOf(request.host) === undefined) return 'network'
  const exact = hosts.filter((text) => {
    const rule = readPattern(text)
    return rule?.host === request.host && rule.port === String(request.port)
  })
  return isPermittedBy(exact) ? 'exact' : 'network'
}

/** Reason not to reach a name, whatever its address; undefined for an address, or if there is none. */
export function whyNotNamed(host: string): string | undefined {
  const name = addressOf(host) === undefined ? closedName(host) : undefined
  return name && `"${host}" is ${name}`
}

export interface DialedPort {
  readonly port?: number
  readonly ownPorts?: (() => ReadonlySet<number>) | undefined
  /** Addresses of this machine, read once for many. */
  readonly ownAddresses?: ReadonlySet<string>
}

/** Hint if a rule could permit the address. */
const noPrivateRule = ', and no rule of the configuration permits it with private = true'

/** Reason not to dial an address, such as `loopback`; undefined if it is permitted. */
export function whyNotDialled(
  address: string,
  reach: PrivateReach,
  { port, ownPorts, ownAddresses = addressesOfMachine() }: DialedPort = {},
): string | undefined {
  const found = addressKind(address)
  if (found.kind === 'never') return found.what
  const isOwn = ownAddresses.has(address)
  const own =
    found.kind === 'loopback' ? found.what : isOwn ? 'an address of this machine' : undefined
  if (own !== undefined) {
    if (port !== undefined && ownPorts?.().has(port)) return `${own}, at a port of Mayfly itself`
    return reach === 'exact' ? undefined : `${own}${needsExactRule}`
  }
  if (found.kind === 'public' || reach !== 'none') return undefined
  return `${found.what}${noPrivateRule}`
}

const needsExactRule = `, which needs a rule with private = true for exactly this address and port`

/** Local services trust connections from this machine, also at its public addresses. */
export function addressesOfMachine(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((own) => own ?? [])
  return new Set(all.map(({ address }) => address))
}
