/**
 * One pattern of a network: `METHOD scheme://host:port/path`. Method and path may be left out and then mean every
 * one; scheme and port may be `*`, a host may be `*` or start with `*.`, a path may end with `/*`. In each part two
 * values are nested or have nothing in common, so two patterns always meet in one pattern or in none: that is what
 * makes networks a lattice.
 */
export interface Pattern {
  /** In capitals, or `*`. */
  readonly method: string
  readonly scheme: string
  readonly host: string
  readonly port: string
  /** `/exactly/this`, `/all/below/*`, or `*`. */
  readonly path: string
}

export const everything: Pattern = { method: '*', scheme: '*', host: '*', port: '*', path: '*' }
export const pathCharactersMax = 400
/** What the longest parts make together, so that what two patterns have in common is never too long. */
export const patternCharactersMax = 720

const PATTERN =
  /^(?:([A-Z]{1,20}) )?(\*|[a-z][a-z0-9+.-]{0,19}):\/\/([^/\s]{1,253}):(\d{1,5}|\*)(\/.*)?$/
const PATH = /^\/(?:[^\s?#*\\]*|[^\s?#*\\]*\/\*|\*)$/

/** Reads the canonical text of a pattern; undefined when it is none. */
export function readPattern(text: string): Pattern | undefined {
  const [, method = '*', scheme, host, port, path = '/*'] = PATTERN.exec(text) ?? []
  if (!scheme || !host || !port || !isPathPattern(path)) return undefined
  return { method, scheme, host, port, path: path === '/*' ? '*' : path }
}

export function patternTextOf({ method, scheme, host, port, path }: Pattern): string {
  const before = method === '*' ? '' : `${method} `
  return `${before}${scheme}://${host}:${port}${path === '*' ? '' : path}`
}

/** Whether a path can stand in a pattern: absolute, no query, a star at its end alone. */
export function isPathPattern(path: string): boolean {
  return path.length <= pathCharactersMax && PATH.test(path)
}

/** Whether all that `inner` means is also meant by `outer`. */
export function covers(outer: Pattern, inner: Pattern): boolean {
  return (
    coversWord(outer.scheme, inner.scheme) &&
    coversWord(outer.port, inner.port) &&
    coversWord(outer.method, inner.method) &&
    coversHost(outer.host, inner.host) &&
    coversPath(outer.path, inner.path)
  )
}

/** What both mean; undefined when that is nothing. */
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
