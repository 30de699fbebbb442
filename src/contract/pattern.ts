/**
 * A network pattern: `METHOD scheme://host:port/path`. Omitted method and path match all; scheme
 * and port may be `*`, a host may be `*` or start with `*.`, a path may end with `/*`. In each part
 * two values are nested or disjoint, so the intersection of two patterns is one pattern or empty:
 * this makes networks a lattice.
 */
export interface Pattern {
  /** Upper case, or `*`. */
  readonly method: string
  readonly scheme: string
  readonly host: string
  readonly port: string
  /** `/exactly/this`, `/all/below/*`, or `*`. */
  readonly path: string
}

export const everything: Pattern = { method: '*', scheme: '*', host: '*', port: '*', path: '*' }
export const pathCharactersMax = 400
/** Sum of the longest parts, so that an intersection never exceeds the bound. */
export const patternCharactersMax = 720

const PATTERN =
  /^(?:([A-Z]{1,20}) )?(\*|[a-z][a-z0-9+.-]{0,19}):\/\/([^/\s]{1,253}):(\d{1,5}|\*)(\/.*)?$/
const PATH = /^\/(?:[^\s?#*\\]*|[^\s?#*\\]*\/\*|\*)$/

/** Parses the canonical text of a pattern; undefined if invalid. */
export function readPattern(text: string): Pattern | undefined {
  const [, method = '*', scheme, host, port, path = '/*'] = PATTERN.exec(text) ?? []
  if (!scheme || !host || !port || !isPathPattern(path)) return undefined
  return { method, scheme, host, port, path: path === '/*' ? '*' : path }
}

export function patternTextOf({ method, scheme, host, port, path }: Pattern): string {
  const before = method === '*' ? '' : `${method} `
  return `${before}${scheme}://${host}:${port}${path === '*' ? '' : path}`
}

/** True for a path usable in a pattern: absolute, no query, `*` only at its end. */
export function isPathPattern(path: string): boolean {
  return path.length <= pathCharactersMax && PATH.test(path)
}

/** True if `outer` matches everything that `inner` matches. */
export function covers(outer: Pattern, inner: Pattern): boolean {
  return (
    coversWord(outer.scheme, inner.scheme) &&
    coversWord(outer.port, inner.port) &&
    coversWord(outer.method, inner.method) &&
    coversHost(outer.host, inner.host) &&
    coversPath(outer.path, inner.path)
  )
}

/** Intersection of two patterns; undefined if empty. */
export function meetPattern(a: Pattern, b: Pattern): Pattern | undefined {
  const method = narrower(coversWord, a.method, b.method)
  const scheme = narrower(coversWord, a.scheme, b.scheme)
  const host = narrower(coversHost, a.host, b.host)
  const port = narrower(coversWord, a.port, b.port)
  const path = narrower(coversPath, a.path, b.path)
  return method && scheme && host && port && path ? { method, scheme, host, port, path } : undefined
}

type Covers = (outer: string, inner: string) => boolean

function narrower(covering: Covers, a: string, b: string): string | undefined {
  if (covering(a, b)) return b
  return covering(b, a) ? a : undefined
}

function coversWord(outer: string, inner: string): boolean {
  return outer === '*' || outer === inner
}

function coversHost(outer: string, inner: string): boolean {
  return (
    outer === '*' || outer === inner || (outer.startsWith('*.') && inner.endsWith(outer.slice(1)))
  )
}

function coversPath(outer: string, inner: string): boolean {
  if (outer === '*' || outer === inner) return true
  return inner !== '*' && outer.endsWith('/*') && inner.startsWith(outer.slice(0, -1))
}
