import { timingSafeEqual } from 'node:crypto'
import { MayflyError } from '../../contract/error.ts'
import { sha256 } from '../../lib/hash.ts'
import { versionOf } from '../../lib/private-file.ts'
import {
  adminKey,
  createFirst,
  digestPattern,
  isLive,
  apiKeysFile,
  newKey,
  readKeys,
  type StoredKey,
} from './key-store.ts'

export type Scope = StoredKey['scopes'][number]

/** Authenticated caller. `id` names the key without revealing it. */
export interface Identity {
  readonly id: string
  readonly tenant: string
  readonly principal: string
  readonly scopes: readonly Scope[]
}

export interface Keys {
  /**
   * Finds the owner of a key. Digests are compared in constant time over all keys. The store is reread when it
   * changes, so a revoked key fails with the next request. Throws MayflyError STATE if the store cannot be read.
   */
  find(key: string): Identity | undefined
}

export interface KeysOptions {
  /** State folder with `keys.json`. Without one, keys live as long as the process. */
  readonly folder?: string
  /** Admin key to use instead of creating one; one that the store or a tenant has too keeps what it may there. */
  readonly first?: string
  /** Variable that has it, for the error. */
  readonly firstIn?: string
  /** Tenants of the configuration; `keys` are `sha256:` and the hex digest of the whole key. */
  readonly tenants?: readonly { readonly name: string; readonly keys: readonly string[] }[]
  /** Milliseconds since 1970; compared with expiry. */
  readonly date?: () => number
  /** Defers the first key until `create` is called, when it can be shown. */
  readonly later?: boolean
}

export const keyLengthMin = 32
const KEY_LENGTH_MAX = 512

export interface OpenedKeys {
  readonly keys: Keys
  /** Text of the first key, if created; stored nowhere else. */
  readonly created: string | null
  /** Creates the deferred key. */
  create(): string | null
}

/**
 * Opens the keys of this server. `created` is the admin key of a first start, to be shown once. Throws MayflyError
 * STATE or CONFIG.
 */
export async function openKeys(options: KeysOptions): Promise<OpenedKeys> {
  const { folder, first, firstIn = 'the API key', tenants = [] } = options
  const { date = Date.now, later = false } = options
  const configured = tenants.flatMap(tenantKeys)
  if (first !== undefined) configured.push(firstKey(first, firstIn))
  if (folder === undefined) return inMemory(configured, date)
  const file = apiKeysFile(folder)
  const isFirst = configured.length === 0 && !readKeys(file)?.length
  const create = () => (isFirst ? createFirst(file) : undefined) ?? null
  const created = later ? null : create()
  const entries = whenChanged(file, configured.map(known))
  entries()
  return { keys: finder(entries, date), created, create: later ? create : () => null }
}

function inMemory(configured: readonly StoredKey[], date: () => number): OpenedKeys {
  const made = configured.length > 0 ? undefined : newKey()
  const all = (made ? [adminKey('first', made.digest)] : configured).map(known)
  return { keys: finder(() => all, date), created: made?.key ?? null, create: () => null }
}

interface KeyDigest {
  readonly stored: StoredKey
  readonly bytes: Buffer
}

function known(stored: StoredKey): KeyDigest {
  return { stored, bytes: Buffer.from(stored.digest.slice(7), 'hex') }
}

/** Keys of store and configuration; rereads the store only when its version changed. */
function whenChanged(file: string, configured: readonly KeyDigest[]): () => readonly KeyDigest[] {
  let version = ''
  let entries: readonly KeyDigest[] = []
  return () => {
    const now = versionOf(file)
    if (now === version) return entries
    entries = [...(readKeys(file) ?? []).map(known), ...configured]
    version = now
    return entries
  }
}

function finder(entries: () => readonly KeyDigest[], date: () => number): Keys {
  return {
    find(key) {
      if (key.length < keyLengthMin || key.length > KEY_LENGTH_MAX) return undefined
      const digest = Buffer.from(sha256(key), 'hex')
      const now = date()
      const same = entries().filter(({ bytes }) => timingSafeEqual(bytes, digest))
      const own = same.filter(({ stored }) => stored.id !== environmentId)
      const deciding = own.length > 0 ? own : same
      const found = deciding.findLast(({ stored }) => isLive(stored, now))?.stored
      if (!found) return undefined
      const { id, tenant, principal, scopes } = found
      return { id, tenant, principal, scopes }
    },
  }
}

function tenantKeys(tenant: {
  readonly name: string
  readonly keys: readonly string[]
}): StoredKey[] {
  return tenant.keys.map((digest, index) => {
    if (!digestPattern.test(digest)) {
      throw new MayflyError('CONFIG', `Cannot read key ${index + 1} of tenant "${tenant.name}"`, {
        hint: 'Write a key as "sha256:" and the 64 hex digits of its digest',
      })
    }
    const id = `${tenant.name}/${digest.slice(7, 19)}`
    return { id, digest, tenant: tenant.name, principal: id, scopes: ['run', 'read'] }
  })
}

/** Id of a key that only the environment has. */
export const environmentId = 'environment'

/**
 * The admin key of the environment. Clients read their key from MAYFLY_API_KEY, so that variable may hold one that has an entry of
 * its own, with fewer scopes or revoked: that entry then decides.
 */
function firstKey(key: string, variable: string): StoredKey {
  if (key.length >= keyLengthMin && key.length <= KEY_LENGTH_MAX && /^[\x21-\x7e]+$/.test(key)) {
    return adminKey(environmentId, `sha256:${sha256(key)}`)
  }
  throw new MayflyError('CONFIG', `Cannot use ${variable} as the first API key`, {
    hint: `A key has ${keyLengthMin} to ${KEY_LENGTH_MAX} visible ASCII characters`,
  })
}
