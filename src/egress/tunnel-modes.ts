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
  const decisionFor = (scheme: Scheme) => {
    const request = { scheme, ...to }
    const isInspected = needsInspection(terms.network(), request)
    return { scheme, isInspected, ...decide(terms.network(), request) }
  }
  const [tcp, https, wss, http, ws] = [
    decisionFor('tcp'),
    decisionFor('https'),
    decisionFor('wss'),
    decisionFor('http'),
    decisionFor('ws'),
  ]
  const mustInspect = https.isInspected || isAlwaysInspected(to, terms)
  // A WebSocket is visible only inside TLS.
  const passTls = !mustInspect && isAllowed(https)
  const isTls = [https, wss].some((one) => isAllowed(one) || one.isInspected)
  const inspectTls = isTls && !passTls && terms.authority !== undefined
  const inspectHttp = [http, ws].some((one) => isAllowed(one) || one.isInspected)
  // A credential for plain HTTP is neither placed nor searched for in an opaque tunnel.
  const isForHttp = isForCredentials(terms.credentials ?? [], { scheme: 'http', ...to })
  const passAny = !mustInspect && !isForHttp && isAllowed(tcp)
  if (passAny || passTls || inspectTls || inspectHttp)
    return { kind: 'modes', passAny, passTls, inspectTls, inspectHttp }
  const { because } = to.port === 80 ? http : https
  return { kind: 'denied', because: isTls ? inspectionUnavailable : because }
}

const inspectionUnavailable = 'it needs TLS inspection, which this server does not provide'

function isAllowed({ verdict }: { readonly verdict: string }): boolean {
  return verdict === 'allowed'
}

/** True if all TLS is inspected, or if a credential for this target must be inserted. */
function isAlwaysInspected(
  to: To,
  { inspection, authority, credentials = [] }: EgressTerms,
): boolean {
  const isFor = isForCredentials(credentials, { scheme: 'https', ...to })
  return inspection === 'every' || (isFor && authority !== undefined)
}
