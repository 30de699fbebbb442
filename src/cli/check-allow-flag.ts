import { addressKind, closedName } from '../contract/address.ts'
import type { Config } from '../contract/config.ts'
import { grantsNetwork } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import { type NetworkInput, networkOf, parsePattern } from '../contract/network.ts'
import { readPattern } from '../contract/pattern.ts'
import { networkFor, privateHostsFor } from '../profile/network.ts'

/**
 * Checks that the hosts of `--allow` are reachable at all: a ceiling may exclude them, and private addresses need a
 * rule of the configuration. Throws MayflyError USAGE with a hint.
 */
export function checkAllowed(hosts: readonly string[], config: Config): void {
  for (const host of hosts) {
    // Malformed patterns are reported by the job schema.
    if (parsePattern(host, 'https') === undefined) continue
    checkCeilings(host, config)
    checkPrivate(host, config)
  }
}

function checkCeilings(host: string, config: Config): void {
  const asked: NetworkInput = { allow: [host] }
  const { value, because } = networkFor(asked, config, config.tenants[0]!)
  if (grantsNetwork(value) || !grantsNetwork(networkOf(asked))) return
  throw new MayflyError(
    'USAGE',
    `Cannot allow "${host}": ${because.replace(/^asked, within /, '')} excludes it`,
    { hint: 'Run "mayfly policy explain" to find where that is configured' },
  )
}

function checkPrivate(host: string, config: Config): void {
  const { value } = networkFor({ allow: [host] }, config, config.tenants[0]!)
  const open = privateHostsFor(value, config, config.tenants[0]!)
  for (const text of value.allow === 'any' ? [] : value.allow) {
    const why = whyClosed(readPattern(text)!.host)
    if (why === undefined || open.includes(text)) continue
    throw new MayflyError('USAGE', `Cannot allow "${host}": it is ${why.kind}`, {
      hint: why.isNever
        ? 'No rule can allow this address'
        : `A rule of the configuration does: [ceilings] network = { allow = ["*://*:*", { host = "${text}", private = true }] }`,
    })
  }
}

function whyClosed(host: string): { readonly kind: string; readonly isNever: boolean } | undefined {
  const name = closedName(host)
  if (name !== undefined) return { kind: `${name}, by a name`, isNever: true }
  const address = host.startsWith('[') ? host.slice(1, -1) : host
  if (!/^[0-9.]+$|:/.test(address)) return undefined
  const found = addressKind(address)
  return found.kind === 'public' ? undefined : { kind: found.what, isNever: found.kind === 'never' }
}
