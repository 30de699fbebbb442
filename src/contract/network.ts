import { domainToASCII } from 'node:url'
import { isIP } from 'node:net'
import { addressKind, closedName } from './address.ts'
import { isHttpMethod, unknownMethodIn } from './http-method.ts'
import { allControls, canonicalControls, noNetwork, type NetworkControl } from './controls.ts'
import { isPathPattern, readPattern } from './pattern.ts'
import { parseSize } from './units.ts'

/** A network in user notation: in a job, a configuration, on the command line. */
export type NetworkInput =
  | 'none'
  | 'open'
  | (BytesAsked & { readonly allow: readonly string[] })
  | (BytesAsked & { readonly deny: readonly string[] })

/**
 * A host of a configuration; `private` also allows private addresses. A job cannot express this.
 */
export type HostRule = string | { readonly host: string; readonly private?: boolean | undefined }

/** A network in the notation of a configuration, whose rules may allow private addresses. */
export type ConfiguredNetworkInput =
  | Exclude<NetworkInput, { readonly allow: readonly string[] }>
  | (BytesAsked & { readonly allow: readonly HostRule[] })

/** A configured network: the control, and those of its patterns that may match private addresses. */
export type ConfiguredNetwork = NetworkControl & { readonly private?: readonly string[] }

/** Byte budgets of one run, headers and TLS included: a number, or text such as "1MB". */
interface BytesAsked {
  readonly sent?: number | string
  readonly received?: number | string
}

/**
 * Normalises user notation into Controls. A bare host to allow means https on 443; a bare host to
 * deny means every port, because denying too little would fail open. Throws RangeError for an
 * invalid pattern.
 */
export function networkOf(asked: NetworkInput): NetworkControl {
  if (asked === 'none') return noNetwork
  if (asked === 'open') return allControls.network
  const bytes = { ...bytesOf('sent', asked), ...bytesOf('received', asked) }
  return 'allow' in asked
    ? canonical({ allow: asked.allow.flatMap((text) => read(text, 'https')), deny: [], ...bytes })
    : canonical({ allow: 'any', deny: asked.deny.flatMap((text) => read(text, 'every')), ...bytes })
}

/**
 * Parses a network of a configuration. Throws RangeError for an invalid pattern, or one that may
 * not be private.
 */
export function configuredNetworkOf(asked: ConfiguredNetworkInput): ConfiguredNetwork {
  if (typeof asked === 'string' || !('allow' in asked)) return networkOf(asked)
  const rules = asked.allow.map((rule) => (typeof rule === 'string' ? { host: rule } : rule))
  const hosts = rules.map(({ host }) => host)
  const named = rules.filter((rule) => rule.private).map(({ host }) => host)
  return { ...networkOf({ ...asked, allow: hosts }), ...privateOf(named, 'https') }
}

/** Patterns of hosts that may be private, as part of a network; omitted if empty. */
export function privateOf(
  hosts: readonly string[],
  bare: BareHost,
): { readonly private?: readonly string[] } {
  if (hosts.length === 0) return {}
  for (const host of hosts) {
    const why = whyNotPrivate(read(host, bare))
    if (why !== undefined) throw new RangeError(`Cannot let "${host}" be private: ${why}`)
  }
  const patterns = hosts.flatMap((host) => read(host, bare))
  return { private: canonical({ allow: patterns, deny: [] }).allow as readonly string[] }
}

function whyNotPrivate(patterns: readonly string[]): string | undefined {
  for (const { host, port } of patterns.map((text) => readPattern(text)!)) {
    if (host === '*') return 'expected a host, an address or "*.example.com", not every host'
    const closed = closedName(host)
    if (closed !== undefined) return `it is ${closed}; loopback is written as "127.0.0.1:PORT"`
    const address = host.startsWith('[') ? host.slice(1, -1) : isIP(host) ? host : undefined
    const kind = address === undefined ? undefined : addressKind(address)
    if (kind?.kind === 'never') return `it is ${kind.what}, which no rule can allow`
    if (kind?.kind === 'loopback' && port === '*')
      return 'loopback can be allowed only with one address and one port'
  }
  return undefined
}

function bytesOf(
  name: 'sent' | 'received',
  asked: BytesAsked,
): Pick<NetworkControl, 'sent' | 'received'> {
  const written = asked[name]
  if (written === undefined) return {}
  const bytes = parseSize(written)
  if (bytes === undefined) throw new RangeError(`Cannot read the size "${written}"`)
  return { [name]: bytes }
}

/**
 * Meaning of a bare host: `https` is 443 alone, `web` adds http on 80, `every` is any scheme and
 * port. With `every` a port alone, `http` and `https` mean every scheme on that port: a request that asks for an upgrade
 * to a WebSocket has another scheme, and a server may answer it as any other.
 */
export type BareHost = 'https' | 'web' | 'every'

const bareForms: Readonly<Record<BareHost, Endpoints>> = {
  https: [['https', '443']],
  web: [
    ['http', '80'],
    ['https', '443'],
  ],
  every: [['*', '*']],
}

const PORT_OF: Readonly<Record<string, string>> = {
  http: '80',
  https: '443',
  ws: '80',
  wss: '443',
  dns: '53',
}
const WRITTEN =
  /^(?:([A-Z]{1,20}) )?(?:(\*|[a-zA-Z]{1,20}):\/\/)?(\*|\[[0-9a-fA-F:.]{2,45}\]|[^\s/?#@:[\]\\%]{1,253})(?::(\d{1,5}|\*))?(\/[^\s?#\\]*)?$/

/**
 * Parses `host`, `host:port`, `scheme://host` or `scheme://host:port` into `scheme://host:port`
 * patterns; undefined if invalid. The host is lower-cased ASCII, and may be `*` or start with `*.`;
 * the port may be `*`. A method and a space may precede it (`GET api.example.com`), a path may
 * follow: `/v1/users` is that path, `/v1/*` its subtree, and `/` alone means no path.
 */
export function parsePattern(text: string, bare: BareHost): readonly string[] | undefined {
  const [, method, scheme, host = '', port, path = '/'] = WRITTEN.exec(text) ?? []
  if (method !== undefined && !isHttpMethod(method)) return undefined
  const name = hostOf(host)
  const tail = path === '/' ? '' : plainPath(path)
  if (scheme === undefined && isAddressRange(name, path)) return undefined
  if (name === undefined || tail === undefined || !isPathPattern(tail || '/')) return undefined
  if (Number(port ?? 1) < 1 || Number(port ?? 1) > 65_535) return undefined
  const head = method === undefined ? '' : `${method} `
  const rest = tail === '/*' ? '' : tail
  return endpointsOf(scheme, port, bare)?.map(
    ([word, number]) => `${head}${word}://${name}:${number}${rest}`,
  )
}

/** True for `10.0.0.0/8`, which would otherwise be the path `/8` of one address, and deny no other. */
function isAddressRange(host: string | undefined, path: string): boolean {
  const isAddress = host !== undefined && (host.startsWith('[') || isIP(host) !== 0)
  return isAddress && /^\/\d{1,3}$/.test(path)
}

type Endpoints = readonly (readonly [scheme: string, port: string])[]

function endpointsOf(
  scheme: string | undefined,
  port: string | undefined,
  bare: BareHost,
): Endpoints | undefined {
  if (scheme === undefined && port === undefined) return bareForms[bare]
  const word = scheme?.toLowerCase() ?? schemeOf(numberOf(port))
  const number = numberOf(port) ?? (bare === 'every' && scheme === '*' ? '*' : PORT_OF[word])
  const isWeb = word === 'http' || word === 'https'
  return number === undefined ? undefined : [[bare === 'every' && isWeb ? '*' : word, number]]
}

/**
 * Unambiguous spelling of a path, which every server parses alike; undefined for ambiguous ones:
 * dot or empty segments, backslashes, percent-encoded delimiters, and bytes that are not UTF-8.
 */
export function plainPath(path: string): string | undefined {
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => {
    const character = String.fromCharCode(parseInt(hex, 16))
    return /[A-Za-z0-9._~-]/.test(character) ? character : `%${hex.toUpperCase()}`
  })
  if (!/^\/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$/.test(decoded)) return undefined
  if (
    /%(?![0-9A-F]{2})|%(0|1|7F|2F|5C|25|3B)|;|\/\.{0,2}(\/|$)/.test(withoutTrailingSlash(decoded))
  )
    return undefined
  return isMappedPath(decoded) ? undefined : decoded
}

/**
 * True for a path that lenient servers change further: overlong UTF-8 (CVE-2008-2938), characters that compatibility
 * mappings turn into dots and slashes, and segments of dots and spaces, which Windows shortens.
 */
function isMappedPath(decoded: string): boolean {
  if (!/%|\.{3}/.test(decoded)) return false
  try {
    const text = decodeURIComponent(decoded).normalize('NFKC')
    const segments = text.split('/')
    const isSplit = segments.length !== decoded.split('/').length
    return isSplit || text.includes('\\') || segments.some((segment) => /^[.\s]+$/.test(segment))
  } catch {
    return true
  }
}

/** Removes one trailing slash, which a path may have, before the check for empty segments. */
function withoutTrailingSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path === '/' ? '/-' : path
}

/** Canonical form: sorted, without duplicates or entries covered by another. */
export function canonical(network: NetworkControl): NetworkControl {
  return canonicalControls({ ...allControls, network }).network
}

function read(text: string, bare: BareHost): readonly string[] {
  const patterns = parsePattern(text, bare)
  if (patterns) return patterns
  throw new RangeError(
    `Cannot read the network pattern "${text}": ${unknownMethodIn(text) ?? `expected ${patternText}`}`,
  )
}

export const patternText =
  'a host such as "api.example.com", "*.example.net", "https://api.example.com:443" or "GET https://api.example.com/v1/*"'

function schemeOf(port: string | undefined): string {
  if (port === '443') return 'https'
  return port === '80' ? 'http' : '*'
}

function numberOf(port: string | undefined): string | undefined {
  return port === undefined || port === '*' ? port : String(Number(port))
}

/** Canonical spelling of a host: `0x7f.1` is `127.0.0.1`, `EXAMPLE.com.` is `example.com`. */
function hostOf(written: string): string | undefined {
  if (written === '*') return '*'
  const wild = written.startsWith('*.')
  const bare = (wild ? written.slice(2) : written).replace(/\.$/, '')
  if (bare === '' || bare.startsWith('.') || bare.includes('*')) return undefined
  const host = asciiHost(bare)
  if (host === undefined || (wild && isIP(host) !== 0)) return undefined
  return wild ? `*.${host}` : host
}

function asciiHost(written: string): string | undefined {
  if (written.startsWith('[')) return URL.parse(`http://${written}/`)?.hostname
  const ascii = domainToASCII(written)
  const host = ascii === '' ? undefined : URL.parse(`http://${ascii}/`)?.hostname
  return host !== undefined && /^[a-z0-9._-]+$/.test(host) && !host.includes('..')
    ? host
    : undefined
}
