import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MayflyError, messageOf } from '../../contract/error.ts'
import {
  authorityExtensions,
  certificate,
  extension,
  serverExtensions,
} from '../../lib/certificate.ts'
import { bits, explicit, implicit, sequence } from '../../lib/der.ts'

const AUTHORITY_DAYS = 3650
const SERVER_DAYS = 90

/** Server certificate and key as PEM, with the authority that signed it. */
export interface DevelopmentCertificate {
  readonly cert: string
  readonly key: string
  readonly authority: string
  /** Path of the authority's certificate, for importing it as trusted. */
  readonly authorityFile: string
}

/**
 * Issues a certificate for `localhost` and the loopback addresses, signed by an authority created on first call and
 * stored in `folder`. Name constraints limit the authority to those names, so trusting it trusts no other site; the
 * server key is new at each start and never written. Throws MayflyError STATE.
 */
export function developmentCertificate(folder: string, now: number): DevelopmentCertificate {
  const { certFile, keyFile } = filesIn(folder)
  try {
    if (!existsSync(certFile)) makeAuthority(folder, now)
    const authority = readFileSync(certFile, 'utf8')
    const issuer = createPrivateKey(readFileSync(keyFile))
    const server = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const cert = certificate({
      subject: 'localhost',
      key: server.publicKey,
      issuer: { name: new X509Certificate(authority).subject.replace(/^CN=/, ''), key: issuer },
      from: now,
      days: SERVER_DAYS,
      extensions: serverExtensions(...localNames()),
    })
    const key = server.privateKey.export({ type: 'pkcs8', format: 'pem' })
    return { cert: cert + authority, key, authority, authorityFile: certFile }
  } catch (thrown) {
    throw new MayflyError('STATE', `Cannot make a development certificate: ${messageOf(thrown)}`, {
      hint: `Remove "${folder}" to start with a new authority`,
      cause: thrown,
    })
  }
}

function filesIn(folder: string): { readonly certFile: string; readonly keyFile: string } {
  return { certFile: join(folder, 'authority.pem'), keyFile: join(folder, 'authority.key') }
}

/** Writes the key first, because a certificate without its key would be reused at each start. */
function makeAuthority(folder: string, now: number): void {
  const { certFile, keyFile } = filesIn(folder)
  const name = `Mayfly development ${randomBytes(4).toString('hex')}`
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  const cert = certificate({
    subject: name,
    key: publicKey,
    issuer: { name, key: privateKey },
    from: now,
    days: AUTHORITY_DAYS,
    extensions: ownExtensions(),
  })
  writeFileSync(certFile, cert, { mode: 0o644 })
}

const subtree = (n: number, value: Buffer): Buffer => sequence(implicit(n, value))

function ownExtensions(): readonly Buffer[] {
  const names = [
    subtree(2, Buffer.from('localhost')),
    subtree(7, Buffer.from([127, 0, 0, 0, 255, 0, 0, 0])),
    subtree(7, Buffer.concat([loopback6, Buffer.alloc(16, 0xff)])),
  ]
  return [
    // keyCertSign, cRLSign.
    ...authorityExtensions(bits(Buffer.from([0x06]), 1)),
    extension('2.5.29.30', sequence(explicit(0, ...names)), true),
  ]
}

function localNames(): readonly Buffer[] {
  return [
    implicit(2, Buffer.from('localhost')),
    implicit(7, Buffer.from([127, 0, 0, 1])),
    implicit(7, loopback6),
  ]
}

const loopback6 = Buffer.concat([Buffer.alloc(15), Buffer.from([1])])
