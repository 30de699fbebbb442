import type { Config } from '../contract/config.ts'
import type { NetworkControl } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { NetworkInput } from '../contract/network.ts'
import { simulate, type SimulatedDecision } from '../egress/simulate.ts'
import { networkFor, privateHostsFor } from '../profile/network.ts'

export interface EgressQuery {
  readonly egress: readonly string[]
  readonly allow?: readonly string[]
  readonly method?: string
}

/**
 * Verdict for each address in a job of the first tenant, within the ceilings: with `--allow` for a job that requests
 * those hosts, else for one that requests none. Throws MayflyError USAGE.
 */
export function simulateEgress(config: Config, asked: EgressQuery): readonly SimulatedDecision[] {
  const network = networkAllowed(config, asked.allow && { allow: asked.allow })
  const hosts = privateHostsFor(network, config, config.tenants[0]!)
  return asked.egress.map((url) => simulate(network, url, asked.method ?? 'GET', hosts))
}

/** Formats one line per address with the reason. */
export function simulatedText(all: readonly SimulatedDecision[]): string {
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
