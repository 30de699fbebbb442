import type { Header } from './head.ts'

/** One request on the way to the last one. */
export interface Hop {
  readonly url: string
  readonly method: string
  readonly headers: readonly Header[]
  readonly body: Buffer | undefined
}

/**
 * The request that a redirect asks for, as browsers make it; undefined where the answer is none. What only the first
 * host was to see (credentials, their placeholders, cookies) does not go to another origin.
 */
export function redirected(
  hop: Hop,
  status: number,
  location: string | undefined,
): Hop | undefined {
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
