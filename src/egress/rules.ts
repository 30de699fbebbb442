import { allowedBy, deniedBy, type NetworkControl } from '../contract/controls.ts'
import { plainPath } from '../contract/network.ts'
import { covers, meetPattern, patternTextOf, type Pattern } from '../contract/pattern.ts'

/**
 * What one attempt to get out is: asked by `proxy.ts` for each request and each tunnel, by `fetch.ts` for each hop,
 * and by `policy simulate` for addresses that nobody has tried yet.
 */
export interface EgressRequest {
  /**
   * `tcp` is a tunnel with anything in it, which only a rule for every scheme lets out; `https` a closed tunnel of
   * TLS too, in which a WebSocket cannot be told from a request; `dns` the question for a name.
   */
  readonly scheme: 'http' | 'https' | 'ws' | 'wss' | 'tcp' | 'dns'
  /** As readHost of host.ts gives it. */
  readonly host: string
  readonly port: number
  /** Left out where they cannot be seen: in a tunnel that stays closed. */
  readonly method?: string
  /** Without the query. */
  readonly path?: string
  /** A header that some servers read in place of method and path, so that neither counts as seen. */
  readonly overriddenBy?: string | undefined
}

export interface Verdict {
  readonly verdict: 'allowed' | 'denied'
  /** The rule, or what is missing, in words for whoever asked. */
  readonly because: string
}

/**
 * Whether a network lets a request out. What cannot be seen counts as everything it could be: an allowed method or
 * path alone does not open a closed tunnel, and a denied one closes it whole. A path that servers read in different
 * ways counts as one that cannot be seen, and so do method and path under a header that overrides them.
 */
export function decide(network: NetworkControl, request: EgressRequest): Verdict {
  const { overriddenBy, ...own } = request
  const verdict = decideAsked(network, patternOf(own))
  if (verdict.verdict === 'denied' || overriddenBy === undefined) return verdict
  const taken = decideAsked(network, anyAt(own))
  if (taken.verdict === 'allowed') return verdict
  const because = `some servers take its header "${overriddenBy}" for another method or path, and a rule here tells those apart`
  return { verdict: 'denied', because }
}

function decideAsked(network: NetworkControl, asked: Pattern): Verdict {
  const denied = deniedBy(network).find((deny) => meetPattern(deny, asked))
  if (denied) return { verdict: 'denied', because: `"${patternTextOf(denied)}" is denied` }
  const allowed = allowedBy(network)
  const rule = allowed.find((allow) => covers(allow, asked))
  if (rule) return { verdict: 'allowed', because: `"${patternTextOf(rule)}" is allowed` }
  return { verdict: 'denied', because: missing(allowed, asked) }
}

/** Whether any rule tells methods or paths apart, so that some tunnel may have to be looked into. */
export function mayLook(network: NetworkControl): boolean {
  const rules = [...allowedBy(network), ...deniedBy(network)]
  return rules.some((rule) => rule.method !== '*' || rule.path !== '*')
}

/** Whether a rule tells methods or paths of this place apart, so that a tunnel to it would have to be looked into. */
export function needsLook(network: NetworkControl, request: EgressRequest): boolean {
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

/** All that may be asked of a place. A server that takes it for another request may not see a WebSocket in it either. */
function anyAt({ scheme, host, port }: EgressRequest): Pattern {
  const place = patternOf({ scheme, host, port })
  return scheme === 'ws' || scheme === 'wss' ? { ...place, scheme: '*' } : place
}

function missing(allowed: readonly Pattern[], asked: Pattern): string {
  const place = `${asked.scheme}://${asked.host}:${asked.port}`
  if (allowed.length === 0) return 'this run has no network'
  const near = allowed.find((allow) => meetPattern(allow, asked))
  if (near)
    return `"${patternTextOf(near)}" is allowed, but what "${place}" would be asked cannot be seen or read in one way`
  const anyPath = allowed.some((allow) => meetPattern(allow, { ...asked, method: '*', path: '*' }))
  return anyPath
    ? `"${place}" is allowed with another method or path only`
    : `"${place}" is not among what is allowed`
}
