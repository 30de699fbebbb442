import { addressesFor } from './dns.ts'
import { refused, type Refused } from './head.ts'
import { readHost } from './host.ts'
import { deny, over, tooMuch, unreached } from './reach.ts'
import { decide } from './rules.ts'
import type { Terms } from './terms.ts'

/**
 * The one host that the proxy answers for itself: `http://dns.mayfly/resolve?name=NAME`, for a job that may look names
 * up and nothing more. A rule names what it may look up (`dns://*.example.com`), because a name can carry a message.
 */
export const lookUpHost = 'dns.mayfly'
const dnsPort = 53

export function isLookUp(target: { readonly scheme: string; readonly host: string }): boolean {
  return target.host === lookUpHost && target.scheme === 'http'
}

/** The public addresses of a name, as JSON. */
export async function lookUp(
  { path, query }: { readonly path: string; readonly query: string },
  terms: Terms,
): Promise<{ readonly kind: 'found'; readonly body: string } | Refused> {
  const name = readHost(new URLSearchParams(query).get('name') ?? '')
  const to = { scheme: 'dns', host: name ?? lookUpHost, port: dnsPort } as const
  if (path !== '/resolve' || name === undefined || name.startsWith('['))
    return deny(to, `"${lookUpHost}" answers /resolve?name=NAME`, terms)
  if (terms.ledger.isFull) return refused(tooMuch, 403)
  const { verdict, because } = decide(terms.network(), to)
  if (verdict === 'denied') return deny(to, because, terms)
  const asked = terms.ledger.ask(to, terms.caller, terms.stop)
  if (!asked) return refused(over, 403)
  const addresses = await addressesFor(to, terms, asked.stop.signal)
  if (!terms.ledger.settle(asked)) return refused(over, 403)
  const again = decide(terms.network(), to)
  if (again.verdict === 'denied') return deny(to, again.because, terms)
  if ('kind' in addresses) return unreached(to, addresses, terms)
  terms.ledger.enterOver(to, { verdict, because }, terms.caller)
  return { kind: 'found', body: JSON.stringify({ name, addresses }) }
}
