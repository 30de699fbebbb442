import type { NetworkControl } from '../contract/controls.ts'
import { addressOf, readHost } from './host.ts'
import { privateReach, whyNotDialled, whyNotNamed } from './private-addresses.ts'
import { decide, type EgressRequest, type EgressDecision } from './rules.ts'

export interface SimulatedDecision extends EgressDecision {
  readonly url: string
}

const portOf: Readonly<Record<string, number>> = { http: 80, https: 443, ws: 80, wss: 443 }

/**
 * Decision for a URL without network access. Names are not resolved, so an allowed one may still fail when its
 * addresses turn out not to be public.
 */
export function simulate(
  network: NetworkControl,
  url: string,
  method = 'GET',
  privateHosts: readonly string[] = [],
): SimulatedDecision {
  const request = readUrl(url, method)
  if (!request) return { url, verdict: 'denied', because: 'it is not a valid URL with a host' }
  const verdict = decide(network, request)
  if (verdict.verdict === 'denied') return { url, ...verdict }
  const name = whyNotNamed(request.host)
  if (name !== undefined) return { url, verdict: 'denied', because: name }
  const address = addressOf(request.host)
  const reach = privateReach(request, privateHosts)
  const why = address === undefined ? undefined : whyNotDialled(address, reach)
  if (why !== undefined) return { url, verdict: 'denied', because: `"${address}" is ${why}` }
  const also = reach === 'none' ? '' : ', also where its address is private'
  return { url, ...verdict, because: `${verdict.because}${also}` }
}

/** Parses as clients do (WHATWG URL), so that `http://2130706433/` is loopback. */
function readUrl(text: string, method: string): EgressRequest | undefined {
  const url = URL.parse(text)
  const scheme = url?.protocol.slice(0, -1) as EgressRequest['scheme'] | undefined
  if (!url || !scheme || (portOf[scheme] === undefined && scheme !== 'tcp')) return undefined
  const host = readHost(url.hostname)
  const port = url.port === '' ? portOf[scheme] : Number(url.port)
  if (host === undefined || !port || url.username !== '' || url.password !== '') return undefined
  return { scheme, host, port, method, path: url.pathname }
}
