import { readFileSync } from 'node:fs'
import { attempt } from '../lib/attempt.ts'

/** Port of the egress proxy on the loopback inside the wall. */
export const wayOutPort = 3128
const PROXY = `http://127.0.0.1:${wayOutPort}`
/** An IPv6 address in both spellings: Go and requests read the one, undici and urllib the other. */
const NEAR = 'localhost,127.0.0.1,::1,[::1]'
const KNOWN = '/etc/ssl/certs/ca-certificates.crt'
/** In the read-only root of the wall. */
const OWN_FILE = '/mayfly/authority.pem'
const ALL_FILE = '/mayfly/authorities.pem'

/** Variables and files that make programs use the egress proxy, and trust its TLS certificate. */
export interface WayOut {
  readonly variables: Readonly<Record<string, string>>
  readonly files: Readonly<Record<string, string>>
}

/** `trust`: certificate of Mayfly's TLS authority, if TLS may be inspected. */
export function wayOut(trust: string | undefined): WayOut {
  const proxy = {
    HTTP_PROXY: PROXY,
    HTTPS_PROXY: PROXY,
    http_proxy: PROXY,
    https_proxy: PROXY,
    NO_PROXY: NEAR,
    no_proxy: NEAR,
    NODE_USE_ENV_PROXY: '1',
  }
  if (trust === undefined) return { variables: proxy, files: {} }
  const bundles = ['SSL_CERT_FILE', 'CURL_CA_BUNDLE', 'REQUESTS_CA_BUNDLE', 'GIT_SSL_CAINFO']
  const all = [...bundles, 'PIP_CERT', 'CARGO_HTTP_CAINFO'].map((name) => [name, ALL_FILE])
  return {
    variables: { ...proxy, NODE_EXTRA_CA_CERTS: OWN_FILE, ...Object.fromEntries(all) },
    files: { [OWN_FILE]: trust, [ALL_FILE]: `${knownAuthorities()}\n${trust}` },
  }
}

/**
 * Authorities of this system: all variables except Node's replace the program's built-in list instead of adding to it.
 */
function knownAuthorities(): string {
  return attempt(() => readFileSync(KNOWN, 'utf8')) ?? ''
}
