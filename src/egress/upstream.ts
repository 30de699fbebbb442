import type { Socket } from 'node:net'
import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import { parsePattern } from '../contract/network.ts'
import { addressKind } from '../contract/address.ts'
import { addressOf } from './host.ts'
import { headText, readLines, refused, type Header, type EgressRefusal } from './http-head.ts'
import { decide, type EgressRequest } from './rules.ts'
import { readUntilParsed } from './streams.ts'

/**
 * Corporate upstream proxy for all requests of jobs: `CONNECT` for tunnels, TLS and WebSockets, absolute-form
 * requests for plain HTTP. Rules, budgets, credentials, server names and leak checks apply here as without it.
 *
 * Names are resolved by the upstream, not here: an allowed name may lead to a private address behind it. Literal
 * addresses are still checked.
 *
 * The upstream belongs to the operator and is trusted with the traffic; its answers are parsed as hostile input.
 */
export interface Upstream {
  readonly host: string
  readonly port: number
  /** `USER:PASSWORD`; must never appear in a log, event or outcome. */
  readonly credentials?: string | undefined
  /** Patterns of hosts reached without it. */
  readonly direct: readonly string[]
}

/** Form of a plain request to the upstream. */
export interface UpstreamForwarding {
  readonly credentials?: string | undefined
}

const answerBytesMax = 16 * 1024

/** Upstream of the configuration. Throws MayflyError CONFIG for missing or malformed credentials. */
export function upstreamFrom(
  { proxy, proxy_credentials_env: variable, no_proxy }: Omit<Config['egress'], 'inspect'>,
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

/** True for exceptions and for loopback, which would be another machine for the upstream. */
export function bypassesUpstream(request: EgressRequest, { direct }: Upstream): boolean {
  const address = addressOf(request.host)
  if (address !== undefined && addressKind(address).kind === 'loopback') return true
  return decide({ allow: direct, deny: [] }, request).verdict === 'allowed'
}

/** Headers for the upstream only. */
export function forwardedHeaders(forwarding: UpstreamForwarding | undefined): readonly Header[] {
  if (forwarding?.credentials === undefined) return []
  const basic = Buffer.from(forwarding.credentials).toString('base64')
  return [['Proxy-Authorization', `Basic ${basic}`]]
}

/** Answer for status 407; credentials are the operator's concern, not the guest's. */
export const upstreamAuthRequired: EgressRefusal = {
  ...refused('the upstream proxy asks for credentials', 502),
  detail: 'set egress.proxy_credentials_env, and the variable that it names to USER:PASSWORD',
}

/** Opens a tunnel through the upstream; undefined on success, with the socket at the server's first byte. */
export async function openTunnel(
  socket: Socket,
  { host, port }: EgressRequest,
  { credentials }: Upstream,
): Promise<EgressRefusal | undefined> {
  const place = `${host}:${port}`
  const headers = [['Host', place] as const, ...forwardedHeaders({ credentials })]
  socket.write(headText(`CONNECT ${place} HTTP/1.1`, headers))
  const taken = await readUntilParsed(socket, (bytes) => readLines(bytes, answerBytesMax))
  if (!taken || 'kind' in taken) return refused('the upstream proxy did not respond with HTTP', 502)
  const { value: answer } = taken.value
  const status = Number(/^HTTP\/1\.[01] ([1-5]\d\d)( |$)/.exec(answer.first)?.[1] ?? NaN)
  if (status >= 200 && status < 300) {
    const rest = taken.bytes.subarray(answer.size)
    if (rest.length > 0) socket.unshift(rest)
    return undefined
  }
  if (status === 407) return upstreamAuthRequired
  if (status === 403) return refused(`the proxy of this server does not let out to "${host}"`, 403)
  if (Number.isNaN(status)) return refused('the upstream proxy did not respond with HTTP', 502)
  return refused(`the proxy of this server answers ${status} for "${host}"`, 502)
}
