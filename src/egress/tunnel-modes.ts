import { isForCredentials } from './credentials.ts'
import { decide, needsInspection, type EgressRequest } from './rules.ts'
import type { EgressTerms } from './egress-terms.ts'

type Scheme = EgressRequest['scheme']

/** Permitted uses of a tunnel, chosen by its first byte. */
export interface TunnelModes {
  readonly kind: 'modes'
  /** Any content, opaque. */
  readonly passAny: boolean
  /** Opaque TLS. */
  readonly passTls: boolean
  /** TLS terminated and inspected here. */
  readonly inspectTls: boolean
  /** Plain HTTP, always inspected. */
  readonly inspectHttp: boolean
}

type To = Pick<EgressRequest, 'host' | 'port'>

/** Modes permitted for a tunnel to this target, before its first byte is seen. */
export function tunnelModesFor(
  to: To,
  terms: EgressTerms,
): TunnelModes | { kind: 'denied'; because: string } {
  const said = (scheme: Scheme) => {
    const request = { scheme, ...to }
    const look = needsInspection(terms.network(), request)
    return { scheme, look, ...decide(terms.network(), request) }
  }
  const [tcp, https, wss, http, ws] = [
    said('tcp'),
    said('https'),
    said('wss'),
    said('http'),
    said('ws'),
  ]
  const mustInspect = https.look || isInspected(to, terms)
  // A WebSocket is visible only inside TLS.
  const passTls = !mustInspect && isAllowed(https)
  const isTls = [https, wss].some((one) => isAllowed(one) || one.look)
  const inspectTls = isTls && !passTls && terms.authority !== undefined
  const inspectHttp = [http, ws].some((one) => isAllowed(one) || one.look)
  const passAny = !mustInspect && isAllowed(tcp)
  if (passAny || passTls || inspectTls || inspectHttp)
    return { kind: 'modes', passAny, passTls, inspectTls, inspectHttp }
  const { because } = to.port === 80 ? http : https
  return { kind: 'denied', because: isTls ? inspectionUnavailable : because }
}

const inspectionUnavailable =
  'its TLS would have to be inspected, which this server is not set up for'

function isAllowed({ verdict }: { readonly verdict: string }): boolean {
  return verdict === 'allowed'
}

function isInspected(to: To, { look, authority, credentials = [] }: EgressTerms): boolean {
  const isFor = isForCredentials(credentials, { scheme: 'https', ...to })
  return look === 'every' || (isFor && authority !== undefined)
}
