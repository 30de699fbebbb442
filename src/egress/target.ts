import { readHost } from './host.ts'
import { refused, valuesOf, wordsOf, type EgressRefusal, type RequestHead } from './http-head.ts'

/** Origin of a request (scheme, host, port). */
export interface HttpOrigin {
  readonly scheme: 'http' | 'https'
  readonly host: string
  readonly port: number
}

export type RequestTarget =
  | { readonly kind: 'tunnel'; readonly host: string; readonly port: number }
  | {
      readonly kind: 'request'
      readonly scheme: 'http' | 'https' | 'ws' | 'wss'
      readonly host: string
      readonly port: number
      /** Without the query. */
      readonly path: string
      readonly query: string
    }

const defaultPort = { http: 80, https: 443 } as const

/**
 * Target of a request: absolute form or CONNECT at the proxy, origin form inside a tunnel (`inside`) with the
 * tunnel's Host. Requests that name two hosts are refused.
 */
export function readTarget(head: RequestHead, inside?: HttpOrigin): RequestTarget | EgressRefusal {
  const target = inside ? readOriginForm(head, inside) : readProxyTarget(head)
  if (target.kind === 'refused') return target
  const why = hostFault(head, target.host, target.port, inside?.scheme ?? 'http')
  return why === undefined ? target : refused(why)
}

/** Scheme of the connection that carries a request: WebSockets begin as HTTP. */
export function transportScheme(scheme: string): HttpOrigin['scheme'] {
  return scheme === 'https' || scheme === 'wss' ? 'https' : 'http'
}

export function authorityText({ scheme, host, port }: HttpOrigin): string {
  return port === defaultPort[scheme] ? host : `${host}:${port}`
}

function readProxyTarget(head: RequestHead): RequestTarget | EgressRefusal {
  if (head.method === 'CONNECT') return readAuthority(head.target)
  const [, scheme, authority = '', path = '/', query = ''] =
    /^([a-z]{1,10}):\/\/([^/?#]+)(\/[^?#]*)?(\?[^#]*)?$/i.exec(head.target) ?? []
  if (scheme === undefined) return refused('a request to the proxy needs an absolute http URL')
  if (scheme.toLowerCase() !== 'http')
    return refused(`"${scheme.toLowerCase()}" needs a tunnel (CONNECT)`)
  const place = readHostPort(authority, 80)
  if (!place) return refused('the host of the address is ambiguous')
  return request(head, { scheme: 'http', ...place }, path, query)
}

function readAuthority(target: string): RequestTarget | EgressRefusal {
  const place = readHostPort(target)
  return place
    ? { kind: 'tunnel', ...place }
    : refused('CONNECT needs an unambiguous host and port')
}

function readOriginForm(head: RequestHead, inside: HttpOrigin): RequestTarget | EgressRefusal {
  const [, path, query = ''] = /^(\/[^?#]*)(\?[^#]*)?$/.exec(head.target) ?? []
  if (head.method === 'CONNECT' || path === undefined)
    return refused('a request inside a tunnel must have a path as its target')
  return request(head, inside, path, query)
}

function request(
  head: RequestHead,
  { scheme, host, port }: HttpOrigin,
  path: string,
  query: string,
): RequestTarget | EgressRefusal {
  const upgrade = wordsOf(head.headers, 'upgrade')
  const known = new Set(['close', 'keep-alive', 'te', 'upgrade', 'proxy-connection'])
  if (wordsOf(head.headers, 'connection').some((word) => !known.has(word)))
    return refused('Connection names a header that is not its own')
  if (upgrade.length === 0) return { kind: 'request', scheme, host, port, path, query }
  if (upgrade.join() !== 'websocket' || head.method !== 'GET')
    return refused('a connection can only be upgraded to a WebSocket', 403)
  const upgraded = scheme === 'http' ? 'ws' : 'wss'
  return { kind: 'request', scheme: upgraded, host, port, path, query }
}

function hostFault(
  head: RequestHead,
  host: string,
  port: number,
  scheme: HttpOrigin['scheme'],
): string | undefined {
  const hosts = valuesOf(head.headers, 'host')
  if (hosts.length === 0 && head.minor === 0) return undefined
  if (hosts.length !== 1) return 'it has no Host, or more than one'
  const standard = head.method === 'CONNECT' ? port : defaultPort[scheme]
  const named = readHostPort(hosts[0] ?? '', standard)
  return named?.host === host && named.port === port
    ? undefined
    : 'its Host differs from the address it requests'
}

/** Parses `host:port`; the port is optional if there is a default. */
function readHostPort(text: string, standard?: number): Omit<HttpOrigin, 'scheme'> | undefined {
  const [, written = '', digits] = /^(\[[^\]]*\]|[^:@[\]]+)(?::([1-9]\d{0,4}))?$/.exec(text) ?? []
  const host = readHost(written)
  const port = digits === undefined ? standard : Number(digits)
  return host === undefined || port === undefined || port > 65_535 ? undefined : { host, port }
}
