import type { IncomingMessage } from 'node:http'
import { MayflyError } from '../../contract/error.ts'
import { attempt } from '../../lib/attempt.ts'
import { parseAuthority, type ServerNames } from './origin.ts'

/** Headers that parsers may read differently when repeated (request smuggling). */
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
 * Checks every request of both endpoints before any handler: one known Host, no ambiguous header, a target in origin
 * form (an absolute form of the same host is rewritten), and no path segment that could mean another path. Throws
 * MayflyError.
 */
export function inspectRequest(
  incoming: IncomingMessage,
  names: ServerNames,
  headerLinesMax: number,
): void {
  inspectHeaders(incoming.rawHeaders, headerLinesMax)
  // Node reads `gzip, chunked` as chunked, and leaves the rest to the caller.
  if (!/^(?:chunked)?$/i.test(incoming.headers['transfer-encoding'] ?? ''))
    throw new MayflyError('SYNTAX', 'Cannot read a Transfer-Encoding other than chunked')
  const host = parseAuthority(incoming.headers.host ?? '')
  if (!host) throw new MayflyError('SYNTAX', 'Cannot read the Host header')
  if (!names.knows(host, incoming.socket.localAddress)) {
    const message =
      'Cannot answer for this host name: use the address of the server, or set server.host to it'
    throw new MayflyError('MISDIRECTED', message)
  }
  incoming.url = originForm(incoming.url ?? '', incoming.headers.host!, incoming.method)
  if (!segmentsOf(incoming.url, artifactPath.test(incoming.url)))
    throw new MayflyError('NOT_FOUND', 'Cannot find this path')
}

/** Names an artifact, which is no file of this server and may be a dotfile. */
const artifactPath = /^\/v1\/executions\/[^/?]+\/artifacts\//

/**
 * Decodes the path segments of a target, without its query; undefined for dot segments, dotfiles unless `hasDotfiles`, empty
 * segments, or encoded slashes, backslashes and NULs. The last segment is empty for a folder.
 */
export function segmentsOf(target: string, hasDotfiles = false): readonly string[] | undefined {
  const path = target.split('?', 1)[0]!
  const segments = path.slice(1).split('/').map(decode)
  const ok = segments.every((segment, index) => {
    if (segment === undefined || /[/\\\0]/.test(segment)) return false
    if (hasDotfiles ? /^\.{1,2}$/.test(segment) : segment.startsWith('.')) return false
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
  return attempt(() => decodeURIComponent(segment))
}
