import { setTimeout as sleep } from 'node:timers/promises'
import { prefixesWith, type TranslatorPrefix } from '../contract/address.ts'

/**
 * Prefixes of the network's own NAT64 (RFC 6052), found by RFC 7050.
 *
 * Problem: under such a prefix each IPv4 address has a form that is public IPv6, private ones and those of a deny rule too.
 *
 * Mechanism: where resolvers make such forms (DNS64), the IPv6 addresses of `ipv4only.arpa` are its well-known IPv4
 * addresses in that form. It is looked up before an IPv6 address is dialled, and the answer is kept for a while; an empty
 * answer, which the Internet does not give, is kept for no time. Connections share a look-up; after one without an answer
 * they wait for the next one a moment only, so that addresses are usable where there is no DNS.
 *
 * Not handled: a prefix that is announced by router advertisements (RFC 8781) alone, without DNS64.
 */
export async function translatorPrefixes(
  resolve: (name: string) => Promise<readonly string[]>,
  key: object,
  now = performance.now(),
): Promise<readonly TranslatorPrefix[]> {
  const lookup = lookups.get(key) ?? { prefixes: [], until: -Infinity, isAnswered: true }
  lookups.set(key, lookup)
  if (now < lookup.until) return lookup.prefixes
  lookup.asking ??= ask(resolve, lookup, now).finally(() => (lookup.asking = undefined))
  if (lookup.isAnswered) await lookup.asking
  else await Promise.race([lookup.asking, sleep(retryMs, undefined, { ref: false })])
  return lookup.prefixes
}

async function ask(
  resolve: (name: string) => Promise<readonly string[]>,
  lookup: Lookup,
  now: number,
): Promise<void> {
  const answers = await resolve(translatorName)
  const found = answers.flatMap((six) => ownAddresses.flatMap((four) => prefixesWith(six, four)))
  lookup.isAnswered = answers.length > 0
  if (lookup.isAnswered) lookup.until = now + keptMs
  // A look-up may fail, also for its IPv6 half alone: the network is taken to be as it was.
  if (found.length > 0) lookup.prefixes = found
}

interface Lookup {
  prefixes: readonly TranslatorPrefix[]
  until: number
  isAnswered: boolean
  asking?: Promise<unknown> | undefined
}

/** Name whose IPv6 addresses show the prefix, and its IPv4 addresses (RFC 7050, section 8). */
export const translatorName = 'ipv4only.arpa'
const ownAddresses = ['192.0.0.170', '192.0.0.171']
const keptMs = 600_000
/** Longest wait for a look-up after one that had no answer. */
const retryMs = 500
const lookups = new WeakMap<object, Lookup>()
