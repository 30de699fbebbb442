import { addressesFor } from './dial.ts'
import { refused, type EgressRefusal } from './http-head.ts'
import { readHost } from './host.ts'
import { deny, runOver, ledgerFull, recordUnreachable } from './open-connection.ts'
import { decide } from './rules.ts'
import { mayResolve, plantedSecret, type EgressTerms } from './egress-terms.ts'

/**
 * DNS over the proxy: `http://dns.mayfly/resolve?name=NAME`, for jobs that may resolve names and nothing else. Rules
 * limit the names (`dns://*.example.com`), because a query name can exfiltrate data.
 */
export const dnsLookupHost = 'dns.mayfly'
const dnsPort = 53

export function isDnsLookup(target: { readonly scheme: string; readonly host: string }): boolean {
  return target.host === dnsLookupHost && target.scheme === 'http'
}

/** Resolves a name to its permitted addresses, as JSON. */
export async function resolveForGuest(
  { path, query }: { readonly path: string; readonly query: string },
  terms: EgressTerms,
): Promise<{ readonly kind: 'found'; readonly body: string } | EgressRefusal> {
  const name = readHost(new URLSearchParams(query).get('name') ?? '')
  const to = { scheme: 'dns', host: name ?? dnsLookupHost, port: dnsPort } as const
  if (path !== '/resolve' || name === undefined || name.startsWith('['))
    return deny(to, `"${dnsLookupHost}" answers /resolve?name=NAME`, terms)
  if (terms.ledger.isFull) return refused(ledgerFull, 403)
  const { verdict, because } = decide(terms.network(), to)
  if (verdict === 'denied') return deny(to, because, terms)
  if (!mayResolve(name, terms)) return deny(to, plantedSecret, terms)
  const attempt = terms.ledger.beginAttempt(to, terms.caller, terms.stop)
  if (!attempt) return refused(runOver, 403)
  const addresses = await addressesFor(to, terms, attempt.stop.signal)
  if (!terms.ledger.endAttempt(attempt)) return refused(runOver, 403)
  const again = decide(terms.network(), to)
  if (again.verdict === 'denied') return deny(to, again.because, terms)
  if ('kind' in addresses) return recordUnreachable(to, addresses, terms)
  terms.ledger.recordFinished(to, { verdict, because }, terms.caller)
  return { kind: 'found', body: JSON.stringify({ name, addresses }) }
}
