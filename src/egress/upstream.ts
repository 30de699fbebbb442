import type { Socket } from 'node:net'
import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import { parsePattern } from '../contract/network.ts'
import { addressKind } from '../contract/address.ts'
import { addressOf } from './host.ts'
import { readLines, refused, type Header, type Refused } from './head.ts'
import { decide, type EgressRequest } from './rules.ts'
import { takeFrom } from './streams.ts'

/**
 * The proxy of a company, by which all requests of jobs leave: `CONNECT` for what is closed or has to stay a stream, and
 * plain HTTP in absolute form. Rules, budgets, credentials, names inside TLS and what is planted are looked at here as
 * without it. It resolves names itself, so that what a name means is no longer seen here: a name that is allowed may lead
 * to a private address behind the proxy. Addresses that are written out are judged here as ever.
 *
 * The proxy is the operator's, and trusted with what leaves; what it answers is read as if a stranger had said it.
 */
export interface Upstream {
  readonly host: string
  readonly port: number
  /** `USER:PASSWORD`; never in a log, an event or an outcome. */
  readonly credentials?: string | undefined
  /** Places that are reached without it, as patterns. */
  readonly direct: readonly string[]
}

/** How a plain request is written for it. */
export interface Forwarding {
  readonly credentials?: string | undefined
}

const answerBytesMax = 16 * 1024

/** The proxy that a configuration names. Throws MayflyError CONFIG for credentials that are not there or not readable. */
export function upstreamFrom(
  { proxy, proxy_credentials_env: variable, no_proxy }: Config['egress'],
  env: NodeJS.ProcessEnv,
): Upstream | undefined {
  if (proxy === undefined) return undefined
  const { hostname, port } = new URL(proxy)
  const credentials = variable === undefined ? undefined : credentialsIn(variable, env)
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 80),
    credentials,
    direct: no_proxy.flatMap((text) => parsePattern(text, 'every') ?? []),
  }
}

function credentialsIn(variable: string, env: NodeJS.ProcessEnv): string {
  const value = env[variable]
  if (value && /^[^:\p{Cc}]+:\P{Cc}*$/u.test(value) && value.length <= 1000) return value
  throw new MayflyError('CONFIG', 'Cannot use the credentials of the proxy', {
    hint: `Set the variable "${variable}" to USER:PASSWORD for Mayfly, or remove egress.proxy_credentials_env`,
  })
}

/** Whether a request goes past the proxy: where it is told so, and to this machine, which the proxy knows another by. */
export function isDirect(request: EgressRequest, { direct }: Upstream): boolean {
  const address = addressOf(request.host)
  if (address !== undefined && addressKind(address).kind === 'loopback') return true
  return decide({ allow: direct, deny: [] }, request).verdict === 'allowed'
}

/** What a plain request has for the proxy alone. */
export function forwardedHeaders(forwarding: Forwarding | undefined): readonly Header[] {
  if (forwarding?.credentials === undefined) return []
  return [['Proxy-Authorization', authorizationOf(forwarding.credentials)]]
}

export function authorizationOf(credentials: string): string {
  return `Basic ${Buffer.from(credentials).toString('base64')}`
}

/** What a proxy has to say no; the credentials are the operator's business and not the guest's. */
export const asksForCredentials: Refused = {
  ...refused('the proxy of this server asks for credentials', 502),
  detail: 'set egress.proxy_credentials_env, and the variable that it names to USER:PASSWORD',
}

/** Opens a tunnel by a connection to the proxy; undefined once it is open, and its first byte is the server's. */
export async function openTunnel(
  socket: Socket,
  { host, port }: EgressRequest,
  { credentials }: Upstream,
): Promise<Refused | undefined> {
  const place = `${host}:${port}`
  const lines = [
    `CONNECT ${place} HTTP/1.1`,
    `Host: ${place}`,
    ...(credentials === undefined ? [] : [`Proxy-Authorization: ${authorizationOf(credentials)}`]),
  ]
  socket.write([...lines, '', ''].join('\r\n'))
  const taken = await takeFrom(socket, (bytes) => readLines(bytes, answerBytesMax))
  if (!taken || 'kind' in taken) return refused('the proxy of this server answers no HTTP', 502)
  const { value: answer } = taken.value
  const status = Number(/^HTTP\/1\.[01] ([1-5]\d\d)( |$)/.exec(answer.first)?.[1] ?? NaN)
  if (status >= 200 && status < 300) {
    const rest = taken.bytes.subarray(answer.size)
    if (rest.length > 0) socket.unshift(rest)
    return undefined
  }
  if (status === 407) return asksForCredentials
  if (status === 403) return refused(`the proxy of this server does not let out to "${host}"`, 403)
  if (Number.isNaN(status)) return refused('the proxy of this server answers no HTTP', 502)
  return refused(`the proxy of this server answers ${status} for "${host}"`, 502)
}
