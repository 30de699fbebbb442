import type { Header } from './head.ts'

/**
 * Headers by which servers, and what stands before them, take a request for one with another method, path or host than
 * it has: Rails, Symfony and ASP.NET (`X-HTTP-Method-Override`), IIS (`X-Original-URL`, `X-Rewrite-URL`), ingresses and
 * those that ask somebody else whether to let it through (`X-Forwarded-Uri`, `X-Original-Method`). No guest is a proxy,
 * so none of them has to be said by one.
 */
const overriding =
  /^(x-((http|original|rewrite|override|forwarded|envoy-original)-)?(method|ur[il]|path|prefix|host)(-override)?|forwarded)$/

/** The first header that some server reads in place of the request's own line or host, as it is written. */
export function overridingOf(headers: readonly Header[]): string | undefined {
  return headers.find(([name]) => overriding.test(nameAsRead(name)))?.[0]
}

/** A name as CGI and all that came of it read it: they cannot tell `X_Method` from `X-Method`. */
export function nameAsRead(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-')
}

/** What asks for an answer that is coded, or for a part of it; servers may leave both unheard. */
export const notPlain = /^(accept-encoding|range|request-range|if-range)$/
