import { statSync } from 'node:fs'
import type { Socket } from 'node:net'
import {
  createSecureContext,
  type SecureContextOptions,
  type Server,
  type TlsOptions,
} from 'node:tls'
import { MayflyError, messageOf } from '../../contract/error.ts'
import type { Emitter } from '../../contract/event.ts'
import { isPipe, readPlainFile } from '../../lib/file-descriptor.ts'

/** Certificate chain and key as PEM. */
export interface Tls {
  readonly cert: string
  readonly key: string
  /** True if HSTS may be sent: not for a short-lived development certificate. */
  readonly isLasting: boolean
  /** Files of both, which a renewal replaces. */
  readonly files?: Pick<Tls, 'cert' | 'key'>
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

/**
 * Uses a renewed certificate from the next connection on: its files are looked at then, behind links, because tools for
 * renewal replace those. A pair that cannot be used is reported once, and the one in use stays.
 */
export function followRenewals(
  server: Server,
  tls: Tls,
  handshakeTimeout: number,
  emitter: Emitter,
): void {
  const { files } = tls
  // A pipe cannot be read again, and would block the thread.
  if (!files || [files.cert, files.key].some(isPipe)) return
  let [stamp, inUse] = ['', tls]
  const renew = () => {
    const now = [files.cert, files.key].map(stampOf).join()
    if (now === stamp) return
    stamp = now
    const next = { ...tls, cert: readPlainFile(files.cert), key: readPlainFile(files.key) }
    if (next.cert === inUse.cert && next.key === inUse.key) return
    server.setSecureContext(tlsOptions(next, handshakeTimeout))
    inUse = next
    emitter.emit('server/certificate', { renewed: true })
  }
  // Before Node's own listener, which takes the context of the new connection.
  server.prependListener('connection', () => {
    try {
      renew()
    } catch (thrown) {
      emitter.emit('server/certificate', { renewed: false, because: messageOf(thrown) })
    }
  })
}

/** Answer to a client that speaks plain HTTP to a port with TLS. */
const useHttps = 'This port speaks TLS: use https:// in place of http://\n'
const useHttpsAnswer = [
  'HTTP/1.1 400 Bad Request',
  'content-type: text/plain; charset=utf-8',
  `content-length: ${useHttps.length}`,
  'connection: close',
  '',
  useHttps,
].join('\r\n')

/** Answers plain HTTP with 400, below TLS: the socket with TLS is destroyed when its handshake fails. */
export function answerPlainHttp(server: Server): void {
  const below = new Map<string, Socket>()
  server.prependListener('connection', (socket: Socket) => {
    const client = clientOf(socket)
    below.set(client, socket)
    socket.once('close', () => below.delete(client))
  })
  server.on('tlsClientError', ({ code }: NodeJS.ErrnoException, socket) => {
    if (code !== 'ERR_SSL_HTTP_REQUEST') return
    const plain = below.get(clientOf(socket))
    plain?.write(useHttpsAnswer)
    plain?.destroySoon()
  })
}

function clientOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function stampOf(file: string): string {
  const stats = statSync(file, { throwIfNoEntry: false, bigint: true })
  return stats ? `${stats.dev}:${stats.ino}:${stats.size}:${stats.ctimeNs}` : 'none'
}

/** HSTS for one year; only with a configured certificate. */
export const strictTransport = 'max-age=31536000'
