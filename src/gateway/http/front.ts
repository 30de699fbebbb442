import type { IncomingMessage } from 'node:http'
import { MayflyError } from '../../contract/error.ts'
import { parseAuthority, type Names } from './origin.ts'

/** Headers that two readers may read in two ways when they come twice. */
const SINGLE = new Set([
  'host',
  'authorization',
  'content-length',
  'content-type',
  'content-encoding',
  'transfer-encoding',
  'origin',
  'referer',
])

/**
 * What every request on both endpoints passes before anything reads it: one known Host, no header that could be
 * read in two ways, a target in origin form (or the absolute form of this same host, which is rewritten), and
 * segments that cannot mean another path. Throws MayflyError.
 */
export function inspect(incoming: IncomingMessage, names: Names, headerLinesMax: number): void {
  inspectHeaders(incoming.rawHeaders, headerLinesMax)
  const host = parseAuthority(incoming.headers.host ?? '')
  if (!host) throw new MayflyError('SYNTAX', 'Cannot read the Host header')
  if (!names.knows(host, incoming.socket.localAddress)) {
    throw new MayflyError('MISDIRECTED', 'Cannot answer for this host name', {
      hint: 'List the names this server is reached by as its hosts',
    })
  }
  incoming.url = originForm(incoming.url ?? '', incoming.headers.host!, incoming.method)
  if (!segmentsOf(incoming.url)) throw new MayflyError('NOT_FOUND', 'Cannot find this path')
}

/**
 * The decoded segments of a target's path, without its query; undefined for a path that no honest client writes:
 * dot segments, dotfiles, empty segments, or encoded slashes, backslashes and NULs. The last is empty for a folder.
 */
export function segmentsOf(target: string): readonly string[] | undefined {
  const path = target.split('?', 1)[0]!
  const segments = path.slice(1).split('/').map(decode)
  const ok = segments.every((segment, index) => {
    if (segment === undefined || segment.startsWith('.') || /[/\\\0]/.test(segment)) return false
    return segment !== '' || index === segments.length - 1
  })
  return ok ? (segments as string[]) : undefined
}

function inspectHeaders(raw: readonly string[], linesMax: number): void {
  if (raw.length > linesMax * 2) {
    throw new MayflyError('HEADERS_TOO_LARGE', `Cannot read more than ${linesMax} header lines`)
  }
  const seen = new Set<string>()
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    if (SINGLE.has(name) && seen.has(name)) {
      throw new MayflyError('SYNTAX', `Cannot read the header "${name}" twice`)
    }
    seen.add(name)
  }
}

function originForm(target: string, host: string, method: string | undefined): string {
  if (target === '*' && method === 'OPTIONS') return '/'
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target)
  if (absolute && absolute[1] !== host) {
    throw new MayflyError(
      'SYNTAX',
      'Cannot answer a target that names another host than the Host header',
    )
  }
  const path = absolute ? absolute[2]! || '/' : target
  if (/^\/[\x21-\x7e]*$/.test(path) && !path.includes('#')) return path
  throw new MayflyError('SYNTAX', 'Cannot read the request target')
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}
