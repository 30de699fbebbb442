import { createPublicKey, hash, randomBytes, sign, type KeyObject } from 'node:crypto'
import {
  bits,
  explicit,
  implicit,
  integer,
  octets,
  oid,
  sequence,
  set,
  time,
  truth,
  utf8,
} from './der.ts'

const DAY_MS = 86_400_000
/** Tolerance for clock skew, and for a clock that is set back later. */
const EARLIER_MS = 7 * DAY_MS
const ECDSA_SHA256 = '1.2.840.10045.4.3.2'

export interface CertificateOptions {
  readonly subject: string
  readonly key: KeyObject
  readonly issuer: { readonly name: string; readonly key: KeyObject }
  readonly from: number
  readonly days: number
  readonly extensions: readonly Buffer[]
}

/** An X.509 version 3 certificate (RFC 5280) as PEM. */
export function certificate({
  subject,
  key,
  issuer,
  from,
  days,
  extensions,
}: CertificateOptions): string {
  const algorithm = sequence(oid(ECDSA_SHA256))
  const spki = key.export({ type: 'spki', format: 'der' })
  const issuerSpki = createPublicKey(issuer.key).export({ type: 'spki', format: 'der' })
  const issuedBy = extension('2.5.29.35', sequence(implicit(0, keyId(issuerSpki))))
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    nameOf(issuer.name),
    sequence(time(from - EARLIER_MS), time(from + days * DAY_MS)),
    nameOf(subject),
    spki,
    explicit(3, sequence(...extensions, extension('2.5.29.14', octets(keyId(spki))), issuedBy)),
  )
  const signature = sign('sha256', body, { key: issuer.key, dsaEncoding: 'der' })
  const text = sequence(body, algorithm, bits(signature)).toString('base64')
  const lines = text.match(/.{1,64}/g)!.join('\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}

function keyId(spki: Buffer): Buffer {
  return Buffer.from(hash('sha1', spki, 'hex'), 'hex')
}

function nameOf(common: string): Buffer {
  return sequence(set(sequence(oid('2.5.4.3'), utf8(common))))
}

/** Extensions of an authority below which there is no other; `usage` is the content of its key usage. */
export function authorityExtensions(usage: Buffer): readonly Buffer[] {
  return [
    extension('2.5.29.19', sequence(truth(), integer(Buffer.from([0]))), true),
    extension('2.5.29.15', usage, true),
  ]
}

/** Extensions of a server with these names: digitalSignature and serverAuth only. */
export function serverExtensions(...names: readonly Buffer[]): readonly Buffer[] {
  return [
    extension('2.5.29.19', sequence(), true),
    extension('2.5.29.15', bits(Buffer.from([0x80]), 7), true),
    extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'))),
    extension('2.5.29.17', sequence(...names)),
  ]
}

/** An extension, by its OID and its content as DER. */
export function extension(name: string, value: Buffer, isCritical = false): Buffer {
  return sequence(oid(name), ...(isCritical ? [truth()] : []), octets(value))
}
