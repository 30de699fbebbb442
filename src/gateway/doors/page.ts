import { hash } from 'node:crypto'

/** Maximum of inline blocks hashed into the policy; more would exceed a header. */
const HASHES_MAX = 64
const CLIENT = '<script src="/mayfly.js"></script>'

/**
 * Inserts the bootstrap into an HTML page: the session token as `<meta name="mayfly-session">`, and the browser
 * client unless the page loads it itself. Both go first into the head, before the page's own scripts. `%MAYFLY_API%`
 * is replaced by the origin of the active endpoint.
 */
export function withBootstrap(page: string, token: string | undefined, api = ''): string {
  const html = page.replace('%MAYFLY_API%', () => api)
  const meta = token === undefined ? '' : `<meta name="mayfly-session" content="${token}">`
  const client = /["'/]mayfly\.m?js["'?]/.test(html) ? '' : CLIENT
  const at = headStart(html)
  return html.slice(0, at) + meta + client + html.slice(at)
}

/**
 * Content-Security-Policy of a page: its own origin, and its inline scripts and styles by digest, so markup injected
 * later cannot run. `connect` lists further origins for fetch.
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

/** Policy of other files: opened as a document, they may do nothing; a script may be a worker of this site. */
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

/** CSP digests of inline blocks as browsers compute them: the text between the tags, line ends normalised to LF. */
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
