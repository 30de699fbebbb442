import type { Header } from './http-head.ts'

/**
 * Headers that make servers or proxies see another method, path or host: Rails, Symfony and ASP.NET
 * (`X-HTTP-Method-Override`), IIS (`X-Original-URL`, `X-Rewrite-URL`), ingresses and external authorisation
 * (`X-Forwarded-Uri`, `X-Original-Method`). Only proxies need to send them. Headers that name a second resource to copy
 * or move count as well: WebDAV (`Destination`) and stores of objects (`x-amz-copy-source`).
 */
const overriding =
  /^(x-((http|original|rewrite|override|forwarded|envoy-original)-)?(method|ur[il]|path|prefix|host)(-override)?|forwarded|destination|x-[a-z]+-(copy|rename)-source)$/

/** First header, as written, that some server prefers over the request line or Host. */
export function overrideHeaderOf(headers: readonly Header[]): string | undefined {
  return headers.find(([name]) => overriding.test(cgiName(name)))?.[0]
}

/** Header name as CGI and its descendants see it: `X_Method` and `X-Method` are the same. */
export function cgiName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-')
}

/** Headers that ask for an encoded or partial answer; servers may ignore them. */
export const partialOrEncoded = /^(accept-encoding|range|request-range|if-range)$/
