import type { NetworkControl } from '../contract/controls.ts'
import { closedName } from '../contract/address.ts'
import { addressOf, readHost } from './host.ts'
import { privateReach, whyNotDialled } from './private.ts'
import { decide, type EgressRequest, type Verdict } from './rules.ts'

export interface Simulated extends Verdict {
  readonly url: string
}

const portOf: Readonly<Record<string, number>> = { http: 80, https: 443, ws: 80, wss: 443 }

/**
 * What would become of a request for a URL, as far as can be told without asking anyone: names are not resolved, so
 * one that is allowed may still be refused when its addresses turn out not to be public.
 */
export function simulate(
  network: NetworkControl,
  url: string,
  method = 'GET',
  privateHosts: readonly string[] = [],
): Simulated {
  const request = readUrl(url, method)
  if (!request) return { url, verdict: 'denied', because: 'this is no address of a host' }
  const verdict = decide(network, request)
  if (verdict.verdict === 'denied') return { url, ...verdict }
  const address = addressOf(request.host)
  const reach = privateReach(request, privateHosts)
  const why = address === undefined ? undefined : whyNotDialled(address, reach)
  const name = address === undefined ? closedName(request.host) : undefined
  if (name !== undefined) return { url, verdict: 'denied', because: `"${request.host}" is ${name}` }
  if (why !== undefined) return { url, verdict: 'denied', because: `"${address}" is ${why}` }
  const also = reach === 'none' ? '' : ', also where its address is private'
  return { url, ...verdict, because: `${verdict.because}${also}` }
}

/** A URL as clients read it, so that `http://2130706433/` is loopback here too. */
function readUrl(text: string, method: string): EgressRequest | undefined {
  const url = URL.parse(text)
  const scheme = url?.protocol.slice(0, -1) as EgressRequest['scheme'] | undefined
  if (!url || !scheme || (portOf[scheme] === undefined && scheme !== 'tcp')) return undefined
  const host = readHost(url.hostname)
  const port = url.port === '' ? portOf[scheme] : Number(url.port)
  if (host === undefined || !port || url.username !== '' || url.password !== '') return undefined
  return { scheme, host, port, method, path: url.pathname }
}
