import { readHost } from './host.ts'
import { refused, valuesOf, wordsOf, type Refused, type RequestHead } from './head.ts'

/** Where a request goes. */
export interface Place {
  readonly scheme: 'http' | 'https'
  readonly host: string
  readonly port: number
}

export type Target =
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
 * Where a request wants to go. Sent to the proxy itself it names a whole address or is a CONNECT; sent inside a tunnel
 * (`inside`) it names a path, and its Host is that of the tunnel. What names two places is refused.
 */
export function readTarget(head: RequestHead, inside?: Place): Target | Refused {
  const target = inside ? readOrigin(head, inside) : readWhole(head)
  if (target.kind === 'refused') return target
  const why = hostFault(head, target.host, target.port, inside?.scheme ?? 'http')
  return why === undefined ? target : refused(why)
}

/** What carries a request: a WebSocket is a request until it is open. */
export function schemeBelow(scheme: string): Place['scheme'] {
  return scheme === 'https' || scheme === 'wss' ? 'https' : 'http'
}

/** `host`, or `host:port` where the port is not that of the scheme. */
export function authorityText({ scheme, host, port }: Place): string {
  return port === defaultPort[scheme] ? host : `${host}:${port}`
}

function readWhole(head: RequestHead): Target | Refused {
  if (head.method === 'CONNECT') return readAuthority(head.target)
  const [, scheme, authority = '', path = '/', query = ''] =
    /^([a-z]{1,10}):\/\/([^/?#]+)(\/[^?#]*)?(\?[^#]*)?$/i.exec(head.target) ?? []
  if (scheme === undefined) return refused('a proxy is asked for a whole http address')
  if (scheme.toLowerCase() !== 'http')
    return refused(`"${scheme.toLowerCase()}" goes through a tunnel, which CONNECT opens`)
  const place = readPlace(authority, 80)
  if (!place) return refused('the host of the address cannot be read in one way')
  return request(head, { scheme: 'http', ...place }, path, query)
}

function readAuthority(target: string): Target | Refused {
  const place = readPlace(target)
  return place
    ? { kind: 'tunnel', ...place }
    : refused('CONNECT needs a host and a port that can be read in one way')
}

function readOrigin(head: RequestHead, inside: Place): Target | Refused {
  const [, path, query = ''] = /^(\/[^?#]*)(\?[^#]*)?$/.exec(head.target) ?? []
  if (head.method === 'CONNECT' || path === undefined)
    return refused('a request inside a tunnel names a path')
  return request(head, inside, path, query)
}

function request(
  head: RequestHead,
  { scheme, host, port }: Place,
  path: string,
  query: string,
): Target | Refused {
  const upgrade = wordsOf(head.headers, 'upgrade')
  const known = new Set(['close', 'keep-alive', 'te', 'upgrade', 'proxy-connection'])
  if (wordsOf(head.headers, 'connection').some((word) => !known.has(word)))
    return refused('Connection names a header that is not its own')
  if (upgrade.length === 0) return { kind: 'request', scheme, host, port, path, query }
  if (upgrade.join() !== 'websocket' || head.method !== 'GET')
    return refused('a connection can be upgraded to a WebSocket only', 403)
  const upgraded = scheme === 'http' ? 'ws' : 'wss'
  return { kind: 'request', scheme: upgraded, host, port, path, query }
}

function hostFault(
  head: RequestHead,
  host: string,
  port: number,
  scheme: Place['scheme'],
): string | undefined {
  const hosts = valuesOf(head.headers, 'host')
  if (hosts.length === 0 && head.minor === 0) return undefined
  if (hosts.length !== 1) return 'it has no Host, or more than one'
  const standard = head.method === 'CONNECT' ? port : defaultPort[scheme]
  const named = readPlace(hosts[0] ?? '', standard)
  return named?.host === host && named.port === port
    ? undefined
    : 'its Host is another than the address it asks for'
}

/** `host:port`; a port may be left out where there is a standard one. */
function readPlace(text: string, standard?: number): Omit<Place, 'scheme'> | undefined {
  const [, written = '', digits] = /^(\[[^\]]*\]|[^:@[\]]+)(?::([1-9]\d{0,4}))?$/.exec(text) ?? []
  const host = readHost(written)
  const port = digits === undefined ? standard : Number(digits)
  return host === undefined || port === undefined || port > 65_535 ? undefined : { host, port }
}
