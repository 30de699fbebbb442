import { hash } from 'node:crypto'

/** Inline blocks of one page that its policy can name; more would not fit a header. */
const HASHES_MAX = 64
const CLIENT = '<script src="/mayfly.js"></script>'

/**
 * Puts the bootstrap into an HTML page: the session token as `<meta name="mayfly-session">`, and the browser client
 * unless the page loads it itself. Both go first into the head, so that the page's own scripts find them. A page that
 * names `%MAYFLY_API%` gets the origin of the active endpoint there.
 */
export function withBootstrap(page: string, token: string | undefined, api = ''): string {
  const html = page.replace('%MAYFLY_API%', () => api)
  const meta = token === undefined ? '' : `<meta name="mayfly-session" content="${token}">`
  const client = /["'/]mayfly\.m?js["'?]/.test(html) ? '' : CLIENT
  const at = headStart(html)
  return html.slice(0, at) + meta + client + html.slice(at)
}

/**
 * The content policy of a page: itself alone, and its own inline scripts and styles by their digests, so that
 * nothing put into the page later can run. `connect` are origins it may talk to besides its own.
 */
export function pagePolicy(html: string, connect: readonly string[]): string {
  const scripts = digests(html, 'script')
  const styles = digests(html, 'style')
  return [
    "default-src 'none'",
    `script-src ${["'self'", ...scripts].join(' ')}`,
    `style-src ${["'self'", ...styles].join(' ')}`,
    "img-src 'self' data:",
    "font-src 'self'",
    "media-src 'self'",
    "manifest-src 'self'",
    `connect-src ${["'self'", ...connect].join(' ')}`,
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** For what is no page: as a document of its own it may do nothing; a script may be a worker of this site. */
export function filePolicy(type: string): string {
  if (type.startsWith('text/javascript')) return "default-src 'self'; frame-ancestors 'none'"
  return "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
}

function headStart(html: string): number {
  const match =
    /<head(?:\s[^>]*)?>/i.exec(html) ??
    /<html(?:\s[^>]*)?>/i.exec(html) ??
    /<!doctype[^>]*>/i.exec(html)
  return match ? match.index + match[0].length : 0
}

/** Digests of inline blocks as browsers make them: of the text between the tags, with line ends as one LF. */
function digests(html: string, tag: 'script' | 'style'): readonly string[] {
  const found = new Set<string>()
  const lower = html.toLowerCase()
  let at = lower.indexOf(`<${tag}`)
  while (at >= 0 && found.size < HASHES_MAX) {
    const start = lower.indexOf('>', at) + 1
    const end = lower.indexOf(`</${tag}`, start)
    if (start === 0 || end < 0) break
    const text = html.slice(start, end).replaceAll(/\r\n?/g, '\n')
    if (text !== '') found.add(`'sha256-${hash('sha256', text, 'base64')}'`)
    at = lower.indexOf(`<${tag}`, end)
  }
  return [...found]
}
