import { isForCredentials } from './credentials.ts'
import { decide, needsLook, type EgressRequest } from './rules.ts'
import type { Terms } from './terms.ts'

type Scheme = EgressRequest['scheme']

/** How a tunnel may be used, by what comes through it first. */
export interface Ways {
  readonly kind: 'ways'
  /** Anything at all, unread. */
  readonly anything: boolean
  /** TLS that stays closed. */
  readonly passTls: boolean
  /** TLS that ends here and is read. */
  readonly lookTls: boolean
  /** Plain HTTP, which is always read. */
  readonly lookPlain: boolean
}

type To = Pick<EgressRequest, 'host' | 'port'>

/** What may go through a tunnel to this place, as far as can be told before its first byte. */
export function waysInto(to: To, terms: Terms): Ways | { kind: 'denied'; because: string } {
  const said = (scheme: Scheme) => {
    const request = { scheme, ...to }
    const look = needsLook(terms.network(), request)
    return { scheme, look, ...decide(terms.network(), request) }
  }
  const [tcp, https, wss, http, ws] = [
    said('tcp'),
    said('https'),
    said('wss'),
    said('http'),
    said('ws'),
  ]
  const mustLook = https.look || isLookedInto(to, terms)
  // What is allowed for wss alone has to be seen to be that.
  const passTls = !mustLook && isAllowed(https)
  const isTls = [https, wss].some((one) => isAllowed(one) || one.look)
  const lookTls = isTls && !passTls && terms.authority !== undefined
  const lookPlain = [http, ws].some((one) => isAllowed(one) || one.look)
  const anything = !mustLook && isAllowed(tcp)
  if (anything || passTls || lookTls || lookPlain)
    return { kind: 'ways', anything, passTls, lookTls, lookPlain }
  const { because } = to.port === 80 ? http : https
  return { kind: 'denied', because: isTls ? unseen : because }
}

const unseen = 'its TLS would have to be looked into, which this server is not set up for'

function isAllowed({ verdict }: { readonly verdict: string }): boolean {
  return verdict === 'allowed'
}

function isLookedInto(to: To, { look, authority, credentials = [] }: Terms): boolean {
  const isFor = isForCredentials(credentials, { scheme: 'https', ...to })
  return look === 'every' || (isFor && authority !== undefined)
}
