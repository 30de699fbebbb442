import type { Config } from '../contract/config.ts'
import type { NetworkControl } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { NetworkInput } from '../contract/network.ts'
import { simulate, type Simulated } from '../egress/simulate.ts'
import { networkFor, privateHostsFor } from '../profile/network.ts'

export interface Asked {
  readonly egress: readonly string[]
  readonly allow?: readonly string[]
  readonly method?: string
}

/**
 * What would become of each address for a job of the first tenant: with `--allow` for one that asks for those hosts,
 * else for one that asks for nothing; in either case within the ceilings. Throws MayflyError USAGE.
 */
export function simulateEgress(config: Config, asked: Asked): readonly Simulated[] {
  const network = networkAllowed(config, asked.allow && { allow: asked.allow })
  const hosts = privateHostsFor(network, config, config.tenants[0]!)
  return asked.egress.map((url) => simulate(network, url, asked.method ?? 'GET', hosts))
}

/** A line an address, and why. */
export function simulatedText(all: readonly Simulated[]): string {
  const width = Math.max(...all.map(({ url }) => url.length))
  return all
    .map(({ url, verdict, because }) => `${verdict.padEnd(7)}  ${url.padEnd(width)}  ${because}\n`)
    .join('')
}

function networkAllowed(config: Config, asked: NetworkInput | undefined): NetworkControl {
  try {
    return networkFor(asked, config, config.tenants[0]!).value
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    throw new MayflyError('USAGE', messageOf(thrown), { cause: thrown })
  }
}
