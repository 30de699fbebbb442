import type { Config, Tenant } from '../contract/config.ts'
import { allControls, grantsNetwork, meet, type NetworkControl } from '../contract/controls.ts'
import { type ConfiguredNetwork, type NetworkInput, networkOf } from '../contract/network.ts'
import type { FieldReason } from '../contract/profile.ts'
import type { CapabilityTerms } from './capability.ts'

export interface GrantedValue<T> {
  readonly value: T
  readonly because: string
}

/** Network of the job, else of the capability, else of the configuration, within all ceilings. */
export function networkFor(
  asked: NetworkInput | undefined,
  config: Config,
  tenant: Tenant,
  terms?: CapabilityTerms,
): GrantedValue<NetworkControl> {
  const called = terms?.network && `${terms.where}.network_policy`
  let value = plain(asked === undefined ? (terms?.network ?? config.network) : networkOf(asked))
  const reasons = [asked === undefined ? (called ?? defaultReason(config)) : 'asked']
  for (const [ceiling, where] of [
    [terms?.network, called],
    [config.ceilings.network, 'ceilings.network'],
    [tenant.ceilings.network, `tenants.${tenant.name}.ceilings.network`],
  ] as const) {
    const next = ceiling ? within(value, plain(ceiling)) : value
    if (JSON.stringify(next) !== JSON.stringify(value)) reasons.push(`within ${where}`)
    value = next
  }
  return { value, because: reasons.join(', ') }
}

/**
 * Hosts that may resolve to private addresses: those that the configuration marks `private` (global, tenant,
 * capability), within the network granted here. A job cannot add to them.
 */
export function privateHostsFor(
  network: NetworkControl,
  config: Config,
  tenant: Tenant,
  terms?: CapabilityTerms,
): readonly string[] {
  const sources = [terms?.network, config.network, config.ceilings.network, tenant.ceilings.network]
  const hosts = sources.flatMap((source) => source?.private ?? [])
  if (hosts.length === 0 || !grantsNetwork(network)) return []
  const { allow } = within({ allow: hosts, deny: [] }, network)
  return allow === 'any' ? [] : allow
}

export function explainPrivate(hosts: readonly string[]): readonly FieldReason[] {
  if (hosts.length === 0) return []
  return [{ field: 'privateHosts', value: hosts, because: 'private = true in the configuration' }]
}

function plain({ private: _private, ...network }: ConfiguredNetwork): NetworkControl {
  return network
}

/** Short form for outcomes. */
export function explainNetwork({ value, because }: GrantedValue<NetworkControl>): FieldReason {
  const isOpen = JSON.stringify(value) === JSON.stringify(allControls.network)
  const short = isOpen ? 'open' : value
  return { field: 'controls.network', value: grantsNetwork(value) ? short : 'none', because }
}

function within(network: NetworkControl, ceiling: NetworkControl): NetworkControl {
  return meet({ ...allControls, network }, { ...allControls, network: ceiling }).network
}

function defaultReason({ network }: Config): string {
  return grantsNetwork(network) ? 'network' : 'default'
}
