import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import * as z from 'zod'
import { checked } from '../../contract/checked.ts'
import { MayflyError } from '../../contract/error.ts'
import { PrivateList } from '../../contract/private-list.ts'
import { sha256 } from '../../lib/hash.ts'
import { newId } from '../../lib/id.ts'

/**
 * `keys.json` in the state folder: API keys created here, stored as digests only. A revoked or expired key stays
 * listed until its slot is needed.
 */
export const scopes = ['admin', 'run', 'read', 'operate', 'config:widen'] as const

export const digestPattern = /^sha256:[0-9a-f]{64}$/

const keySchema = z
  .strictObject({
    id: z.string().min(1).max(200),
    digest: z.string().regex(digestPattern),
    tenant: z.string().min(1).max(64),
    principal: z.string().min(1).max(200),
    scopes: z.array(z.enum(scopes)).readonly(),
    name: z.string().min(1).max(100).optional(),
    created: z.iso.datetime().optional(),
    expires: z.iso.datetime().nullable().optional(),
    revoked: z.iso.datetime().optional(),
  })
  .readonly()
const keysMax = 1000
const store = new PrivateList({
  name: 'keys',
  item: keySchema,
  itemsMax: keysMax,
  what: 'the key store',
  without: 'start with a new admin key',
})

export type StoredKey = z.infer<typeof keySchema>

export const apiKeysFile = (stateFolder: string): string => join(stateFolder, 'keys.json')

/** True if a key is valid at a time, in milliseconds since 1970. */
export function isLive({ revoked, expires }: StoredKey, now: number): boolean {
  return revoked === undefined && (!expires || now < Date.parse(expires))
}

/** Throws MayflyError STATE. */
export function readKeys(file: string): readonly StoredKey[] | undefined {
  return store.read(file)
}

export interface NewKey {
  readonly tenant: string
  readonly scopes: StoredKey['scopes']
  readonly name?: string | undefined
  /** Milliseconds since 1970; null: never. */
  readonly expires: number | null
  readonly at: number
}

/**
 * Creates a key and returns its text, which is not stored. `record` runs before the store changes; if it throws, the
 * store stays as it was. Throws MayflyError STATE.
 */
export function createKey(
  file: string,
  wanted: NewKey,
  record: (made: StoredKey) => void,
): { readonly key: string; readonly stored: StoredKey } {
  return store.change(file, (keys = []) => {
    const namesake = keys.find((one) => one.name === wanted.name && isLive(one, wanted.at))
    if (wanted.name !== undefined && namesake) throw nameInUse(wanted.name, namesake.id)
    const { key, digest } = newKey()
    const id = newId('key', wanted.at)
    const stored = checked(
      keySchema,
      {
        id,
        digest,
        tenant: wanted.tenant,
        principal: `key:${id}`,
        scopes: [...new Set(wanted.scopes)],
        ...(wanted.name !== undefined && { name: wanted.name }),
        created: new Date(wanted.at).toISOString(),
        expires: wanted.expires === null ? null : new Date(wanted.expires).toISOString(),
      },
      'key',
    )
    const kept = withRoom(keys, wanted.at)
    record(stored)
    return { items: [...kept, stored], value: { key, stored } }
  })
}

function nameInUse(name: string, id: string): MayflyError {
  return new MayflyError('INVALID', `Cannot name a key "${name}": "${id}" has this name`, {
    hint: `Choose another name, or revoke that key: mayfly access revoke ${id}`,
  })
}

/** Revokes a key by id, or by a name that exactly one live key has. Throws MayflyError NOT_FOUND, CONFLICT or STATE. */
export function revokeKey(
  file: string,
  which: { readonly idOrName: string; readonly at: number },
  record: (revoked: StoredKey) => void,
): StoredKey {
  return store.change(file, (keys = []) => {
    const known = find(keys, which)
    if (known.revoked !== undefined) return { items: keys, value: known }
    const revoked: StoredKey = { ...known, revoked: new Date(which.at).toISOString() }
    record(revoked)
    return { items: keys.map((one) => (one === known ? revoked : one)), value: revoked }
  })
}

/** Creates the admin key of a first start; returns undefined if the store exists. */
export function createFirst(file: string): string | undefined {
  return store.change(file, (keys) => {
    if (keys) return { items: keys, value: undefined }
    const { key, digest } = newKey()
    return { items: [adminKey('first', digest)], value: key }
  })
}

export function adminKey(id: string, digest: string): StoredKey {
  return { id, digest, tenant: 'default', principal: `key:${id}`, scopes: ['admin'] }
}

export function newKey(): { readonly key: string; readonly digest: string } {
  const key = `mfy_${randomBytes(32).toString('base64url')}`
  return { key, digest: `sha256:${sha256(key)}` }
}

/** Evicts the oldest dead key when the store is full. */
function withRoom(keys: readonly StoredKey[], now: number): readonly StoredKey[] {
  if (keys.length < keysMax) return keys
  const dead = keys.find((one) => !isLive(one, now))
  if (dead) return keys.filter((one) => one !== dead)
  throw new MayflyError('CONFLICT', `Cannot create another key: ${keysMax} are in use`)
}

function find(
  keys: readonly StoredKey[],
  { idOrName, at }: { readonly idOrName: string; readonly at: number },
): StoredKey {
  const exact = keys.find(({ id }) => id === idOrName)
  const named = keys.filter((one) => one.name === idOrName && isLive(one, at))
  if (exact) return exact
  if (named.length === 1) return named[0]!
  const [code, why] =
    named.length > 1
      ? ([
          'CONFLICT',
          `Cannot select a key by "${idOrName}": several keys have this name; give an id`,
        ] as const)
      : (['NOT_FOUND', `Cannot find the key "${idOrName}"`] as const)
  throw new MayflyError(code, why, { hint: 'List keys with "mayfly access list"' })
}
