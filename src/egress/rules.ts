import { allowedBy, deniedBy, type NetworkControl } from '../contract/controls.ts'
import { translatedAddress } from '../contract/address.ts'
import { plainPath } from '../contract/network.ts'
import { covers, meetPattern, patternTextOf, type Pattern } from '../contract/pattern.ts'

/**
 * Outgoing request: checked by `proxy.ts` for each request and tunnel, by `fetch.ts` for each hop, and by `policy
 * simulate` for addresses not tried yet.
 */
export interface EgressRequest {
  /**
   * `tcp`: a tunnel with any content, permitted only by a rule for every scheme. `https` includes opaque TLS tunnels,
   * where a WebSocket looks like a request. `dns`: a name query.
   */
  readonly scheme: 'http' | 'https' | 'ws' | 'wss' | 'tcp' | 'dns'
  /** Normalised by readHost of host.ts. */
  readonly host: string
  readonly port: number
  /** Undefined if unseen, as in an opaque tunnel. */
  readonly method?: string
  /** Without the query. */
  readonly path?: string
  /** Header that some servers prefer over method and path, so that neither counts as seen. */
  readonly overriddenBy?: string | undefined
}

export interface EgressDecision {
  readonly verdict: 'allowed' | 'denied'
  /** Rule that matched or is missing, as text for the guest. */
  readonly because: string
}

/**
 * Decides whether a network permits a request. Unseen parts count as all their possible values: an allow rule for one
 * method or path opens no opaque tunnel, and a deny rule for one closes it. Paths that servers parse differently
 * count as unseen, and so do method and path under an override header.
 */
export function decide(network: NetworkControl, request: EgressRequest): EgressDecision {
  const { overriddenBy, ...own } = request
  const verdict = decidePattern(network, patternOf(own))
  if (verdict.verdict === 'denied' || overriddenBy === undefined) return verdict
  const overridden = decidePattern(network, anyAt(own))
  if (overridden.verdict === 'allowed') return verdict
  const because = `its header "${overriddenBy}" may override method or path on some servers, and a rule depends on those`
  return { verdict: 'denied', because }
}

function decidePattern(network: NetworkControl, asked: Pattern): EgressDecision {
  const denied = deniedBy(network).find((deny) => meetPattern(deny, asked))
  if (denied) return { verdict: 'denied', because: `"${patternTextOf(denied)}" is denied` }
  const allowed = allowedBy(network)
  const rule = allowed.find((allow) => covers(allow, asked))
  if (rule) return { verdict: 'allowed', because: `"${patternTextOf(rule)}" is allowed` }
  return { verdict: 'denied', because: missing(allowed, asked) }
}

/**
 * Reason not to connect to an address that a permitted name resolved to: a deny rule for this address counts for every
 * name of it, and one for an IPv4 address for its form of NAT64.
 */
export function addressDenied(
  network: NetworkControl,
  request: EgressRequest,
  address: string,
): string | undefined {
  const host = address.includes(':') ? `[${address}]` : address
  const hosts = [host, translatedAddress(address) ?? host]
  const asked = (own: string) =>
    patternOf({ scheme: request.scheme, host: own, port: request.port })
  const denied = deniedBy(network).find(
    (deny) => hosts.includes(deny.host) && meetPattern(deny, asked(deny.host)),
  )
  return denied && `denied by "${patternTextOf(denied)}"`
}

/** True if any rule depends on method or path, so that TLS inspection may be needed. */
export function mayNeedInspection(network: NetworkControl): boolean {
  const rules = [...allowedBy(network), ...deniedBy(network)]
  return rules.some((rule) => rule.method !== '*' || rule.path !== '*')
}

/** True if a rule for this target depends on method or path, so that its tunnels need TLS inspection. */
export function needsInspection(network: NetworkControl, request: EgressRequest): boolean {
  const place = patternOf({ scheme: request.scheme, host: request.host, port: request.port })
  return [...allowedBy(network), ...deniedBy(network)].some(
    (rule) => (rule.method !== '*' || rule.path !== '*') && meetPattern(rule, place),
  )
}

function patternOf({ method = '*', scheme, host, port, path }: EgressRequest): Pattern {
  const plain = path === undefined ? undefined : plainPath(path)
  const word = scheme === 'tcp' ? '*' : scheme
  return { method, scheme: word, host, port: String(port), path: plain ?? '*' }
}

/**
 * Pattern of every possible request to this target. A server that sees another method may not see a WebSocket either.
 */
function anyAt({ scheme, host, port }: EgressRequest): Pattern {
  const place = patternOf({ scheme, host, port })
  return scheme === 'ws' || scheme === 'wss' ? { ...place, scheme: '*' } : place
}

function missing(allowed: readonly Pattern[], asked: Pattern): string {
  const place = `${asked.scheme}://${asked.host}:${asked.port}`
  if (allowed.length === 0) return 'this run has no network'
  const near = allowed.find((allow) => meetPattern(allow, asked))
  if (near)
    return `"${patternTextOf(near)}" is allowed, but method or path of the request to "${place}" is hidden or ambiguous`
  const anyPath = allowed.some((allow) => meetPattern(allow, { ...asked, method: '*', path: '*' }))
  return anyPath
    ? `"${place}" is allowed with another method or path only`
    : `no rule allows "${place}"`
}
