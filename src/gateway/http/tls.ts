import { createSecureContext, type SecureContextOptions, type TlsOptions } from 'node:tls'
import { MayflyError, messageOf } from '../../contract/error.ts'

/** A certificate with its chain, and its key, as PEM. */
export interface Tls {
  readonly cert: string
  readonly key: string
  /** Whether browsers may be told to come by TLS alone from now on: not for a certificate of a few days' work. */
  readonly isLasting: boolean
}

/** Forward secrecy and authenticated encryption, and nothing else. */
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

/** What a server needs to speak TLS 1.2 or later. Throws MayflyError CONFIG for what is no certificate with its key. */
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

/** For a year; only where it was said who this server is. */
export const strictTransport = 'max-age=31536000'
