import { join } from 'node:path'
import * as z from 'zod'
import { checked } from '../contract/checked.ts'
import { MayflyError } from '../contract/error.ts'
import { PrivateList } from '../contract/private-list.ts'
import { versionOf } from '../lib/private-file.ts'
import { fromBase64, isKey, keyBytes } from '../lib/ed25519.ts'

/**
 * Trusted signing keys: `signers.json` in the state folder, reloaded on change, so that a revocation applies
 * from the next job on. A revoked key stays listed and cannot be trusted again.
 */
export interface Signers {
  /**
   * True if this base64 key is trusted for this tenant now. Throws MayflyError STATE if the file is unreadable.
   */
  trusts(key: string, tenant: string): boolean
  list(): readonly TrustedSigner[]
}

const time = z.iso.datetime()
const signerSchema = z
  .strictObject({
    key: z.string().refine(isKeyText, 'expected base64 of a raw Ed25519 key'),
    name: z.string().min(1).max(100),
    /** Tenant whose jobs it may sign; null for all. */
    tenant: z.string().min(1).max(64).nullable(),
    trustedAt: time,
    revokedAt: time.nullable(),
  })
  .readonly()
const signersMax = 1000
const file = new PrivateList({
  name: 'signers',
  item: signerSchema,
  itemsMax: signersMax,
  what: 'the trusted signers',
  without: 'trust nobody',
})

export type TrustedSigner = z.infer<typeof signerSchema>

const fileOf = (stateFolder: string): string => join(stateFolder, 'signers.json')

/** Opens the signers of a state folder; creates nothing. */
export function openSigners(stateFolder: string): Signers {
  const path = fileOf(stateFolder)
  let version = ''
  let signers: readonly TrustedSigner[] = []
  const current = (): readonly TrustedSigner[] => {
    const now = versionOf(path)
    if (now === version) return signers
    signers = file.read(path) ?? []
    version = now
    return signers
  }
  return { trusts: (key, tenant) => isTrusted(current(), key, tenant), list: current }
}

/** Signers from the output of `list` in another process. Throws ZodError. */
export function signersOf(listed: unknown): Signers {
  const signers = z.array(signerSchema).max(signersMax).parse(listed)
  return { trusts: (key, tenant) => isTrusted(signers, key, tenant), list: () => signers }
}

function isTrusted(signers: readonly TrustedSigner[], key: string, tenant: string): boolean {
  return signers.some(
    (one) =>
      one.key === key && one.revokedAt === null && (one.tenant === null || one.tenant === tenant),
  )
}

/** True for base64 of 32 raw bytes that may encode a key. */
export function isKeyText(text: string): boolean {
  const bytes = fromBase64(text, keyBytes)
  return bytes !== undefined && isKey(bytes)
}

export interface SignerChange {
  readonly signer: TrustedSigner
  readonly changed: boolean
}

/**
 * Trusts a key from now on. `record` is called before the file changes; if it throws, nothing changes. Throws
 * MayflyError CONFLICT for a revoked key, or one trusted under another name or for another tenant, and INVALID for a name
 * with which the file could not be read.
 */
export function trustSigner(
  stateFolder: string,
  wanted: Pick<TrustedSigner, 'key' | 'name' | 'tenant'> & { readonly at: number },
  record: (signer: TrustedSigner) => void,
): SignerChange {
  const { key, name, tenant, at } = wanted
  return file.change<SignerChange>(fileOf(stateFolder), (signers = []) => {
    const known = signers.find((one) => one.key === key)
    if (known && isSame(known, wanted))
      return { items: signers, value: { signer: known, changed: false } }
    if (known) throw taken(known)
    if (signers.length >= signersMax) throw new Error(`it lists ${signersMax} keys already`)
    const trustedAt = new Date(at).toISOString()
    const wantedSigner = { key, name, tenant, trustedAt, revokedAt: null }
    const signer = checked(signerSchema, wantedSigner, 'signer')
    record(signer)
    return { items: [...signers, signer], value: { signer, changed: true } }
  })
}

/**
 * Revokes a key, named by itself or by its name. `record` as in `trustSigner`. Throws MayflyError NOT_FOUND for an
 * unlisted key, CONFLICT for an ambiguous name.
 */
export function revokeSigner(
  stateFolder: string,
  which: { readonly keyOrName: string; readonly at: number },
  record: (signer: TrustedSigner) => void,
): SignerChange {
  return file.change<SignerChange>(fileOf(stateFolder), (signers = []) => {
    const known = find(signers, which.keyOrName)
    if (known.revokedAt !== null)
      return { items: signers, value: { signer: known, changed: false } }
    const signer: TrustedSigner = { ...known, revokedAt: new Date(which.at).toISOString() }
    record(signer)
    const next = signers.map((one) => (one === known ? signer : one))
    return { items: next, value: { signer, changed: true } }
  })
}

function find(signers: readonly TrustedSigner[], keyOrName: string): TrustedSigner {
  const exact = signers.find(({ key }) => key === keyOrName)
  const named = exact ? [exact] : signers.filter(({ name }) => name === keyOrName)
  const live = named.length > 1 ? named.filter(({ revokedAt }) => revokedAt === null) : named
  if (live.length === 1) return live[0]!
  throw named.length === 0
    ? new MayflyError('NOT_FOUND', `Cannot find the signer "${keyOrName}"`, {
        hint: 'List them with "mayfly keys list"',
      })
    : new MayflyError(
        'CONFLICT',
        `Cannot choose between several signers named "${keyOrName}": give the key`,
      )
}

function isSame(known: TrustedSigner, wanted: Pick<TrustedSigner, 'name' | 'tenant'>): boolean {
  return known.revokedAt === null && known.name === wanted.name && known.tenant === wanted.tenant
}

function taken({ name, revokedAt }: TrustedSigner): MayflyError {
  return revokedAt === null
    ? new MayflyError('CONFLICT', `Cannot trust this key again: it is listed as "${name}"`)
    : new MayflyError('CONFLICT', `Cannot trust a key that was revoked at ${revokedAt}`, {
        hint: 'Generate another with "mayfly keys generate"',
      })
}
