import { prefixesWith, type TranslatorPrefix } from '../contract/address.ts'

/**
 * Prefixes of the network's own NAT64 (RFC 6052), found by RFC 7050.
 *
 * Problem: under such a prefix each IPv4 address has a form that is public IPv6, private ones and those of a deny rule too.
 *
 * Mechanism: where resolvers make such forms (DNS64), the IPv6 addresses of `ipv4only.arpa` are its well-known IPv4
 * addresses in that form. It is looked up before an IPv6 address is dialled, and the answer is kept for a while; an empty
 * answer, which the Internet does not give, is kept for no time.
 *
 * Not handled: a prefix that is announced by router advertisements (RFC 8781) alone, without DNS64.
 */
export async function translatorPrefixes(
  resolve: (name: string) => Promise<readonly string[]>,
  key: object,
  now = performance.now(),
): Promise<readonly TranslatorPrefix[]> {
  const known = lookups.get(key)
  if (known && now < known.until) return known.prefixes
  const answers = await resolve('ipv4only.arpa')
  const found = answers.flatMap((six) => ownAddresses.flatMap((four) => prefixesWith(six, four)))
  // A look-up may fail, also for its IPv6 half alone: the network is taken to be as it was.
  const prefixes = found.length > 0 ? found : (known?.prefixes ?? [])
  if (answers.length > 0) lookups.set(key, { prefixes, until: now + keptMs })
  return prefixes
}

/** IPv4 addresses of `ipv4only.arpa` (RFC 7050, section 8). */
const ownAddresses = ['192.0.0.170', '192.0.0.171']
const keptMs = 600_000
const lookups = new WeakMap<
  object,
  { readonly prefixes: readonly TranslatorPrefix[]; readonly until: number }
>()
