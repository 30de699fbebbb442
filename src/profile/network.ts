import type { Config, Tenant } from '../contract/config.ts'
import { allControls, meet, type NetworkControl } from '../contract/controls.ts'
import { type NetworkAsked, networkOf } from '../contract/network.ts'
import type { Explained } from '../contract/profile.ts'

export interface Granted<T> {
  readonly value: T
  readonly because: string
}

/** The network asked for, else the configured one, within the ceilings of configuration and tenant. */
export function networkFor(
  asked: NetworkAsked | undefined,
  config: Config,
  tenant: Tenant,
): Granted<NetworkControl> {
  let value = asked === undefined ? config.network : networkOf(asked)
  const reasons = [asked === undefined ? defaultReason(config) : 'asked']
  for (const [ceiling, where] of [
    [config.ceilings.network, 'ceilings.network'],
    [tenant.ceilings.network, `tenants.${tenant.name}.ceilings.network`],
  ] as const) {
    const next = ceiling ? within(value, ceiling) : value
    if (JSON.stringify(next) !== JSON.stringify(value)) reasons.push(`within ${where}`)
    value = next
  }
  return { value, because: reasons.join(', ') }
}

export function grantsNetwork(network: NetworkControl): boolean {
  return network.allow === 'any' || network.allow.length > 0
}

/** What is granted in words short enough for every outcome. */
export function explainNetwork({ value, because }: Granted<NetworkControl>): Explained {
  const isOpen = value.allow === 'any' && value.deny.length === 0
  const short = isOpen ? 'open' : value
  return { field: 'controls.network', value: grantsNetwork(value) ? short : 'none', because }
}

function within(network: NetworkControl, ceiling: NetworkControl): NetworkControl {
  return meet({ ...allControls, network }, { ...allControls, network: ceiling }).network
}

function defaultReason({ network }: Config): string {
  return grantsNetwork(network) ? 'network' : 'default'
}
