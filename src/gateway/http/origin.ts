import { isIP } from 'node:net'
import type { IncomingMessage } from 'node:http'
import { MayflyError } from '../../contract/error.ts'
import { unauthenticated } from './auth.ts'
import type { Sender } from './session-token.ts'

export interface Authority {
  /** Lower case, without brackets. */
  readonly name: string
  readonly port: string
}

/** Host names this server answers to, and origins of its pages. */
export interface ServerNames {
  /** True if a Host names this server. DNS rebinding points foreign names here, so unknown names are refused. */
  knows(authority: Authority, localAddress: string | undefined): boolean
  /** True if an Origin is that of the static endpoint. */
  isStatic(origin: string, localAddress: string | undefined): boolean
}

/**
 * An IP address cannot be rebound, so these are known: the bound address, loopback, and with a wildcard bind every
 * address.
 */
export function serverNames(bound: string, staticPort: () => number): ServerNames {
  const listed = new Set(['localhost', bound.toLowerCase()])
  const any = bound === '0.0.0.0' || bound === '::'
  const knows = ({ name }: Authority, localAddress: string | undefined): boolean =>
    listed.has(name) ||
    (isIP(name) !== 0 && (any || isLoopback(name) || sameAddress(name, localAddress)))
  const isStatic = (origin: string, localAddress: string | undefined): boolean => {
    const [, scheme, text = ''] = /^(https?):\/\/(.+)$/.exec(origin) ?? []
    const authority = parseAuthority(text, scheme === 'https' ? '443' : '80')
    return !!authority && knows(authority, localAddress) && authority.port === String(staticPort())
  }
  return { knows, isStatic }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** Origin under which a request reached this server. */
export function originOf(incoming: IncomingMessage): string {
  const scheme = 'encrypted' in incoming.socket ? 'https' : 'http'
  return `${scheme}://${incoming.headers.host?.toLowerCase()}`
}

/** Parses `host[:port]` of a Host header or an origin; undefined if malformed. */
export function parseAuthority(text: string, defaultPort = '80'): Authority | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?$/.exec(text)
  if (!match) return undefined
  const [, v6, host = '', port = defaultPort] = match
  if (v6 !== undefined && isIP(v6) !== 6) return undefined
  return { name: (v6 ?? host).toLowerCase(), port }
}

function sameAddress(name: string, localAddress: string | undefined): boolean {
  return localAddress?.replace(/^::ffff:/, '') === name
}

/**
 * Refuses browser requests from other origins: the active endpoint holds authority and serves no pages. Top-level
 * navigation passes, because it carries no key. Throws MayflyError FORBIDDEN.
 */
export function refuseForeignPages(incoming: IncomingMessage): void {
  const { origin } = incoming.headers
  const site = incoming.headers['sec-fetch-site']
  const foreign = origin !== undefined && origin !== originOf(incoming)
  const embedded = site === 'cross-site' || site === 'same-site'
  if (!foreign && (!embedded || incoming.headers['sec-fetch-mode'] === 'navigate')) return
  throw new MayflyError('FORBIDDEN', 'Cannot serve a page of another origin')
}

/** Sender of active content: a page of the static endpoint, or a client other than a browser. Throws UNAUTHENTICATED. */
export function senderOf(incoming: IncomingMessage, serverNames: ServerNames): Sender {
  const { origin, referer } = incoming.headers
  const local = incoming.socket.localAddress
  const site = incoming.headers['sec-fetch-site']
  if (origin === undefined ? site === 'cross-site' : !serverNames.isStatic(origin, local)) {
    throw unauthenticated('Cannot run active content from a page of another origin')
  }
  return { origin, page: origin === undefined ? undefined : pageOf(referer, origin) }
}

function pageOf(referer: string | undefined, origin: string): string | undefined {
  if (referer === undefined || !URL.canParse(referer)) return undefined
  const url = new URL(referer)
  // A stricter referrer policy reduces the page to its bare origin.
  return url.origin === origin && referer !== `${origin}/` ? url.pathname : undefined
}
