import { createSecureContext, type SecureContextOptions, type TlsOptions } from 'node:tls'
import { MayflyError, messageOf } from '../../contract/error.ts'

/** Certificate chain and key as PEM. */
export interface Tls {
  readonly cert: string
  readonly key: string
  /** True if HSTS may be sent: not for a short-lived development certificate. */
  readonly isLasting: boolean
}

/** Forward secrecy and AEAD only. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/** Options for TLS 1.2 or later. Throws MayflyError CONFIG for an invalid certificate or key. */
export function tlsOptions({ cert, key }: Tls, handshakeTimeout: number): TlsOptions {
  const options = { cert, key, ciphers, minVersion: 'TLSv1.2' } satisfies SecureContextOptions
  try {
    createSecureContext(options)
  } catch (thrown) {
    throw new MayflyError('CONFIG', `Cannot use the TLS certificate: ${messageOf(thrown)}`, {
      hint: 'Give the certificate with its chain, and the key that belongs to it, as PEM without a passphrase',
      cause: thrown,
    })
  }
  return { ...options, honorCipherOrder: true, handshakeTimeout }
}

/** HSTS for one year; only with a configured certificate. */
export const strictTransport = 'max-age=31536000'
