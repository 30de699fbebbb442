import { domainToASCII } from 'node:url'
import { isIP } from 'node:net'
import { addressKind, closedName } from './address.ts'
import { allControls, canonicalControls, noNetwork, type NetworkControl } from './controls.ts'
import { isPathPattern, readPattern } from './pattern.ts'
import { parseSize } from './units.ts'

/** A network as people write it: in a job, in a configuration, on the command line. */
export type NetworkAsked =
  | 'none'
  | 'open'
  | (BytesAsked & { readonly allow: readonly string[] })
  | (BytesAsked & { readonly deny: readonly string[] })

/** A host of a configuration: with `private`, also where its address is private. A job has no way to write this. */
export type HostRule = string | { readonly host: string; readonly private?: boolean | undefined }

/** The same in a configuration, where a rule may let out to private addresses. */
export type ConfiguredAsked =
  | Exclude<NetworkAsked, { readonly allow: readonly string[] }>
  | (BytesAsked & { readonly allow: readonly HostRule[] })

/** What a configuration says of a network: the control, and beside it which of its places may be private. */
export type ConfiguredNetwork = NetworkControl & { readonly private?: readonly string[] }

/** The bytes of one run, heads and TLS included: a number, or text such as "1MB". */
interface BytesAsked {
  readonly sent?: number | string
  readonly received?: number | string
}

/**
 * Brings what was asked into the canonical form of Controls. A bare host to allow is https on 443; a bare host to
 * deny is every port of it, because to deny too little fails open. Throws RangeError on what is no pattern.
 */
export function networkOf(asked: NetworkAsked): NetworkControl {
  if (asked === 'none') return noNetwork
  if (asked === 'open') return allControls.network
  const bytes = { ...bytesOf('sent', asked), ...bytesOf('received', asked) }
  return 'allow' in asked
    ? canonical({ allow: asked.allow.flatMap((text) => read(text, 'https')), deny: [], ...bytes })
    : canonical({ allow: 'any', deny: asked.deny.flatMap((text) => read(text, 'every')), ...bytes })
}

/** Reads a network of a configuration. Throws RangeError on what is no pattern, or may not be private. */
export function configuredNetworkOf(asked: ConfiguredAsked): ConfiguredNetwork {
  if (typeof asked === 'string' || !('allow' in asked)) return networkOf(asked)
  const rules = asked.allow.map((rule) => (typeof rule === 'string' ? { host: rule } : rule))
  const hosts = rules.map(({ host }) => host)
  const named = rules.filter((rule) => rule.private).map(({ host }) => host)
  return { ...networkOf({ ...asked, allow: hosts }), ...privateOf(named, 'https') }
}

/** The patterns of hosts that may be private, as a part of a network; nothing where there are none. */
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
    if (kind?.kind === 'never') return `it is ${kind.what}, which no rule lets out`
    if (kind?.kind === 'loopback' && port === '*')
      return 'loopback is let out at one address and port alone'
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

/** What a bare host stands for: `https` 443 alone, `web` also http on 80, `every` scheme and port. */
export type BareHost = 'https' | 'web' | 'every'

const bareForms: Readonly<Record<BareHost, readonly (readonly [scheme: string, port: string])[]>> =
  {
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
 * Reads `host`, `host:port`, `scheme://host` or `scheme://host:port` into `scheme://host:port` patterns; undefined
 * when it is none. The host is lower-cased, in ASCII, and may be `*` or start with `*.`; the port may be `*`. A
 * method and a space may stand before it (`GET api.example.com`), a path after it: `/v1/users` is that path,
 * `/v1/*` all below it, and `/` alone is no path.
 */
export function parsePattern(text: string, bare: BareHost): readonly string[] | undefined {
  const [, method, scheme, host = '', port, path = '/'] = WRITTEN.exec(text) ?? []
  const name = hostOf(host)
  const tail = path === '/' ? '' : plainPath(path)
  if (name === undefined || tail === undefined || !isPathPattern(tail || '/')) return undefined
  if (Number(port ?? 1) < 1 || Number(port ?? 1) > 65_535) return undefined
  const head = method === undefined ? '' : `${method} `
  const rest = tail === '/*' ? '' : tail
  return placesOf(scheme, port, bare)?.map(
    ([word, number]) => `${head}${word}://${name}:${number}${rest}`,
  )
}

type Places = readonly (readonly [scheme: string, port: string])[]

function placesOf(
  scheme: string | undefined,
  port: string | undefined,
  bare: BareHost,
): Places | undefined {
  if (scheme === undefined && port === undefined) return bareForms[bare]
  const word = scheme?.toLowerCase() ?? schemeOf(numberOf(port))
  const number = numberOf(port) ?? (bare === 'every' && scheme === '*' ? '*' : PORT_OF[word])
  return number === undefined ? undefined : [[word, number]]
}

/**
 * The one spelling of a path that every server reads in the same way; undefined where some would read another: dot
 * segments, empty ones, backslashes, and characters that are written with `%` though they part or end something.
 */
export function plainPath(path: string): string | undefined {
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => {
    const character = String.fromCharCode(parseInt(hex, 16))
    return /[A-Za-z0-9._~-]/.test(character) ? character : `%${hex.toUpperCase()}`
  })
  if (!/^\/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$/.test(decoded)) return undefined
  if (/%(?![0-9A-F]{2})|%(0|1|7F|2F|5C|25|3B)|;|\/\.{0,2}(\/|$)/.test(trimmedEnd(decoded)))
    return undefined
  return decoded
}

/** A path may end with a slash. */
function trimmedEnd(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path === '/' ? '/-' : path
}

/** Equal rights are equal data: sorted, nothing twice, nothing that another entry covers. */
export function canonical(network: NetworkControl): NetworkControl {
  return canonicalControls({ ...allControls, network }).network
}

function read(text: string, bare: BareHost): readonly string[] {
  const patterns = parsePattern(text, bare)
  if (patterns) return patterns
  throw new RangeError(`Cannot read the network pattern "${text}": expected ${patternText}`)
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

/** One spelling for each host: `0x7f.1` is `127.0.0.1`, `EXAMPLE.com.` is `example.com`. */
function hostOf(written: string): string | undefined {
  if (written === '*') return '*'
  const wild = written.startsWith('*.')
  const bare = (wild ? written.slice(2) : written).replace(/\.$/, '')
  if (bare === '' || bare.includes('*')) return undefined
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
