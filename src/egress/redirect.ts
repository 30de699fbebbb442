import type { Header } from './http-head.ts'

/** Request in a redirect chain. */
export interface RedirectHop {
  readonly url: string
  readonly method: string
  readonly headers: readonly Header[]
  readonly body: Buffer | undefined
}

/**
 * Next request after a redirect, by the rules of the Fetch standard; undefined if the response is not a redirect.
 * Credentials, their placeholders and cookies are not sent to another origin.
 */
export function nextHop(
  hop: RedirectHop,
  status: number,
  location: string | undefined,
): RedirectHop | undefined {
  if (location === undefined || ![301, 302, 303, 307, 308].includes(status)) return undefined
  const from = new URL(hop.url)
  const to = URL.parse(location, from)
  if (!to) return undefined
  if (to.hash === '') to.hash = from.hash
  const isElsewhere = to.origin !== from.origin
  const headers = hop.headers.filter(([name, value]) => !isElsewhere || !isPrivate(name, value))
  const becomesGet = becomesGetAfter(status, hop.method)
  return {
    url: to.href,
    method: becomesGet ? 'GET' : hop.method,
    headers: becomesGet ? headers.filter(([name]) => !/^content-/i.test(name)) : headers,
    body: becomesGet ? undefined : hop.body,
  }
}

function becomesGetAfter(status: number, method: string): boolean {
  if (status === 303) return method !== 'GET' && method !== 'HEAD'
  return (status === 301 || status === 302) && method === 'POST'
}

function isPrivate(name: string, value: string): boolean {
  return (
    /^(authorization|cookie|proxy-authorization)$/i.test(name) || value.includes('mayfly-secret:')
  )
}
