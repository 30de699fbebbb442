import { constants, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { isIP, isIPv4 } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import { authorityExtensions, certificate, serverExtensions } from '../lib/certificate.ts'
import { bits, implicit } from '../lib/der.ts'
import { addressOf } from './host.ts'

/** Certificate authority for TLS inspection, trusted inside walls only. */
export interface EgressAuthority {
  /** CA certificate for the wall's trust store (NODE_EXTRA_CA_CERTS, SSL_CERT_FILE). */
  readonly pem: string
  /** Time in milliseconds since 1970 from which new walls should trust another one. */
  readonly renewAt: number
  contextFor(host: string): SecureContext
}

const AUTHORITY_DAYS = 365
const HOST_DAYS = 2
const contextsMax = 256
/**
 * Bounds the handshake cost a guest can cause: common groups only, since others cost up to ten times as much and
 * would protect a path within one machine; no renegotiation, because Node's own limit for TLS 1.2 does not apply to a
 * socket that Node has not accepted itself.
 */
const cheap = {
  minVersion: 'TLSv1.2',
  ecdhCurve: 'X25519:P-256',
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
} as const
const DAY_MS = 86_400_000

/**
 * Creates a CA with a fresh key that lives in memory only; no machine outside the walls has to trust it. `now` gives
 * milliseconds since 1970.
 */
export function makeAuthority(now: () => number): EgressAuthority {
  const name = `Mayfly egress ${randomBytes(4).toString('hex')}`
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  // Shared key for all hosts: stealing it gives no more than the CA key would.
  const shared = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = shared.privateKey.export({ type: 'pkcs8', format: 'pem' })
  const issuer = { name, key: own.privateKey }
  const made = new Map<string, { readonly context: SecureContext; readonly until: number }>()
  const pem = certificate({
    subject: name,
    key: own.publicKey,
    issuer,
    from: now(),
    days: AUTHORITY_DAYS,
    // keyCertSign only.
    extensions: authorityExtensions(bits(Buffer.from([0x04]), 2)),
  })
  const until = new X509Certificate(pem).validToDate.getTime()

  return {
    pem,
    renewAt: until - (AUTHORITY_DAYS / 2) * DAY_MS,
    contextFor(host) {
      const known = made.get(host)
      if (known && known.until > now()) return known.context
      const cert = certificate({
        subject: 'Mayfly egress',
        key: shared.publicKey,
        issuer,
        from: now(),
        days: HOST_DAYS,
        extensions: serverExtensions(nameOf(host)),
      })
      const context = createSecureContext({ cert, key, ...cheap })
      if (made.size >= contextsMax) made.delete(made.keys().next().value!)
      made.set(host, { context, until: Math.min(until, now() + (HOST_DAYS - 1) * DAY_MS) })
      return context
    },
  }
}

/** Subject alternative name. */
function nameOf(host: string): Buffer {
  const address = addressOf(host)
  return address === undefined ? implicit(2, Buffer.from(host)) : implicit(7, bytesOf(address))
}

function bytesOf(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  if (isIP(address) === 0) throw new RangeError(`"${address}" is not an IP address`)
  const [left = '', right] = address.split('::')
  const [head, end] = [left, right ?? ''].map((part) => part.split(':').filter(Boolean)) as [
    string[],
    string[],
  ]
  const gap = Array<string>(8 - head.length - end.length).fill('0')
  return Buffer.from([...head, ...gap, ...end].map((one) => one.padStart(4, '0')).join(''), 'hex')
}
