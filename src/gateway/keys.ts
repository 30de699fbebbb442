import { randomBytes, timingSafeEqual } from 'node:crypto'
import { chmod, link, mkdir, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { MayflyError, messageOf } from '../contract/error.ts'
import { sha256 } from '../lib/hash.ts'

export const scopes = ['admin', 'run', 'read'] as const
export type Scope = (typeof scopes)[number]

/** Who asks. `id` names the key without being it. */
export interface Identity {
  readonly id: string
  readonly tenant: string
  readonly principal: string
  readonly scopes: readonly Scope[]
}

export interface Keys {
  /** The owner of a key, compared as digests in a time that depends on how many keys there are alone. */
  find(key: string): Identity | undefined
}

export interface KeysOptions {
  /** The state folder; the store is `keys.json` in it. Without one, keys last as long as the process. */
  readonly folder?: string
  /** A key to use as the first, with scope admin, in place of making one. */
  readonly first?: string
  /** Tenants from the configuration; `keys` are `sha256:` and the hex digest of the whole key. */
  readonly tenants?: readonly { readonly name: string; readonly keys: readonly string[] }[]
}

export const keyLengthMin = 32
const KEY_LENGTH_MAX = 512
const DIGEST = /^sha256:[0-9a-f]{64}$/

const stored = z.strictObject({
  id: z.string().min(1),
  digest: z.string().regex(DIGEST),
  tenant: z.string().min(1),
  principal: z.string().min(1),
  scopes: z.array(z.enum(scopes)),
})
const storeSchema = z.strictObject({ format: z.literal(1), keys: z.array(stored).max(1000) })
type Stored = z.infer<typeof stored>

/**
 * Opens the keys of this server. `created` is the admin key made on the first start, to be shown once: only its
 * digest is kept. Throws MayflyError STATE or CONFIG.
 */
export async function openKeys(
  options: KeysOptions,
): Promise<{ readonly keys: Keys; readonly created: string | null }> {
  const configured = (options.tenants ?? []).flatMap(tenantKeys)
  if (options.first !== undefined) configured.push(firstKey(options.first))
  const file = options.folder === undefined ? undefined : join(options.folder, 'keys.json')
  const before = file === undefined ? [] : await load(file)
  if (before.length + configured.length > 0)
    return { keys: finder([...before, ...configured]), created: null }
  return start(file)
}

async function start(file: string | undefined): Promise<{ keys: Keys; created: string | null }> {
  const key = `mfy_${randomBytes(32).toString('base64url')}`
  const made = admin('first', key)
  if (file === undefined || (await save(file, [made])))
    return { keys: finder([made]), created: key }
  return { keys: finder(await load(file)), created: null }
}

function finder(entries: readonly Stored[]): Keys {
  const known = entries.map((entry) => ({
    entry,
    bytes: Buffer.from(entry.digest.slice(7), 'hex'),
  }))
  return {
    find(key) {
      if (key.length < keyLengthMin || key.length > KEY_LENGTH_MAX) return undefined
      const digest = Buffer.from(sha256(key), 'hex')
      let found: Stored | undefined
      for (const { entry, bytes } of known) if (timingSafeEqual(bytes, digest)) found = entry
      return found
    },
  }
}

function tenantKeys(tenant: { readonly name: string; readonly keys: readonly string[] }): Stored[] {
  return tenant.keys.map((digest, index) => {
    if (!DIGEST.test(digest)) {
      throw new MayflyError('CONFIG', `Cannot read key ${index + 1} of tenant "${tenant.name}"`, {
        hint: 'A key is written as "sha256:" and the 64 hex digits of its digest',
      })
    }
    const id = `${tenant.name}/${digest.slice(7, 19)}`
    return { id, digest, tenant: tenant.name, principal: id, scopes: ['run', 'read'] }
  })
}

function firstKey(key: string): Stored {
  if (key.length >= keyLengthMin && key.length <= KEY_LENGTH_MAX && /^[\x21-\x7e]+$/.test(key)) {
    return admin('environment', key)
  }
  throw new MayflyError('CONFIG', 'Cannot use the API key that was given', {
    hint: `A key has ${keyLengthMin} to ${KEY_LENGTH_MAX} visible ASCII characters`,
  })
}

function admin(id: string, key: string): Stored {
  return {
    id,
    digest: `sha256:${sha256(key)}`,
    tenant: 'default',
    principal: `key:${id}`,
    scopes: ['admin'],
  }
}

async function load(file: string): Promise<readonly Stored[]> {
  const text = await readFile(file, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') return undefined
    throw broken(file, thrown.message)
  })
  if (text === undefined) return []
  if (((await stat(file)).mode & 0o077) !== 0) throw broken(file, 'others may read or write it')
  try {
    return storeSchema.parse(JSON.parse(text)).keys
  } catch (thrown) {
    throw broken(file, messageOf(thrown))
  }
}

/** Writes the store unless another start was first, which then is the one that counts. */
async function save(file: string, keys: readonly Stored[]): Promise<boolean> {
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    await mkdir(join(file, '..'), { recursive: true, mode: 0o700 })
    await writeFile(draft, `${JSON.stringify({ format: 1, keys }, null, 2)}\n`, {
      mode: 0o600,
      flag: 'wx',
      flush: true,
    })
    await chmod(draft, 0o600)
    await link(draft, file)
    return true
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw broken(file, messageOf(thrown))
  } finally {
    await unlink(draft).catch(() => undefined)
  }
}

function broken(file: string, why: string): MayflyError {
  return new MayflyError('STATE', 'Cannot use the key store', {
    hint: `Repair "${file}", or move it away to start with a new admin key`,
    detail: why,
  })
}
