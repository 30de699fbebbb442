import { networkInterfaces } from 'node:os'
import { addressKind } from '../contract/address.ts'
import { readPattern } from '../contract/pattern.ts'
import { addressOf } from './host.ts'
import { decide, type EgressRequest } from './rules.ts'

/**
 * Private addresses, by a rule of the operator alone. A rule with `private = true` for a name or an address opens private
 * networks to requests that it covers; one that is written as an address with its port opens this machine too, at exactly
 * that place. Whatever a rule says: link-local, metadata, multicast and reserved addresses, addresses within addresses,
 * and Mayfly's own ports stay closed.
 */
export type PrivateReach = 'none' | 'network' | 'exact'

/** How far the rules let this request reach. What cannot be seen of it counts as everything it could be. */
export function privateReach(request: EgressRequest, hosts: readonly string[]): PrivateReach {
  const isLetOutBy = (allow: readonly string[]) =>
    decide({ allow, deny: [] }, request).verdict === 'allowed'
  if (hosts.length === 0 || !isLetOutBy(hosts)) return 'none'
  if (addressOf(request.host) === undefined) return 'network'
  const exact = hosts.filter((text) => {
    const rule = readPattern(text)
    return rule?.host === request.host && rule.port === String(request.port)
  })
  return isLetOutBy(exact) ? 'exact' : 'network'
}

export interface Around {
  readonly port?: number
  readonly ownPorts?: (() => ReadonlySet<number>) | undefined
}

/** What a refusal adds where a rule could let it out. */
const wayOn = ', and no rule of the configuration lets it out with private = true'

/** Why an address is not dialled, such as `loopback`; undefined where it is. */
export function whyNotDialled(
  address: string,
  reach: PrivateReach,
  { port, ownPorts }: Around = {},
): string | undefined {
  const found = addressKind(address)
  if (found.kind === 'never') return found.what
  const own = found.kind === 'loopback' ? found.what : ownAddress(address)
  if (own !== undefined) {
    if (port !== undefined && ownPorts?.().has(port)) return `${own}, at a port of Mayfly itself`
    return reach === 'exact' ? undefined : `${own}${exactOn}`
  }
  if (found.kind === 'public' || reach !== 'none') return undefined
  return `${found.what}${wayOn}`
}

const exactOn = `, which takes a rule with private = true for this very address and port`

/** Its services trust what comes from itself, also where its address is a public one. */
function ownAddress(address: string): string | undefined {
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
  return own.some((one) => one.address === address) ? 'an address of this machine' : undefined
}
