import { readFileSync } from 'node:fs'

/** Port of the loopback inside at which programs find the way out. */
export const wayOutPort = 3128
const PROXY = `http://127.0.0.1:${wayOutPort}`
const NEAR = 'localhost,127.0.0.1'
const KNOWN = '/etc/ssl/certs/ca-certificates.crt'
/** On the root of the wall, which cannot be written. */
const OWN_FILE = '/mayfly/authority.pem'
const ALL_FILE = '/mayfly/authorities.pem'

/** Variables and files by which programs take the way out, and trust what looks into their TLS. */
export interface WayOut {
  readonly variables: Readonly<Record<string, string>>
  readonly files: Readonly<Record<string, string>>
}

/** `trust` is the certificate of the authority, where TLS may be looked into. */
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

/** All variables but Node's replace what programs know themselves. */
function knownAuthorities(): string {
  try {
    return readFileSync(KNOWN, 'utf8')
  } catch {
    return ''
  }
}
