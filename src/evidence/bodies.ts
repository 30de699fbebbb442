import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MayflyError } from '../contract/error.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { stateError } from './state-error.ts'

/**
 * What the lines of the record only commit to, where it is kept at all: AES-256-GCM, a key of its own for each
 * body. Keys lie in another file, so that bodies can go into a backup and still be forgotten: without its key,
 * which is overwritten, a body is noise. Whoever reads both files reads everything; what a disk keeps of blocks it
 * was told to overwrite is beyond this.
 */
export interface Bodies {
  /** Keeps bytes under a run and a name, over what was there. */
  put(place: Place, bytes: Uint8Array, at: number): void
  /** Undefined when it is not there or was forgotten; throws MayflyError STATE when it was changed. */
  get(place: Place): Uint8Array | undefined
  /** The names kept of a run. */
  names(tenant: string, run: string): readonly string[]
  /** Runs of a tenant that have a body of this name, in falling order of their ids, those below `before` alone. */
  runs(asked: {
    readonly tenant: string
    readonly name: string
    readonly before: string | undefined
    readonly limit: number
  }): readonly string[]
  /** Makes all bodies of a run unreadable for good. */
  forget(tenant: string, run: string): number
  /** Forgets what is older than `keptMs`, and the oldest of what is beyond `keptBytes`; how many. */
  retain(now: number): number
  close(): void
}

export interface Place {
  readonly tenant: string
  readonly run: string
  readonly name: string
}

/** 24 hours. */
export const keptMs = 86_400_000
export const keptBytes = 2 ** 30
const ivBytes = 12
const tagBytes = 16
const busyMs = 5000

export interface BodiesOptions {
  readonly keptMs?: number
  readonly keptBytes?: number
}

/** Opens `bodies.db` and `body-keys.db` of a state folder; makes them on first use. */
export function openBodies(folder: string, options: BodiesOptions = {}): Bodies {
  makeFolder(folder, 0o700)
  const bodies = openFile(join(folder, 'bodies.db'), bodiesSchema)
  const keys = openFile(join(folder, 'body-keys.db'), keysSchema)
  return new TwoFiles(bodies, keys, { keptMs, keptBytes, ...options })
}

const bodiesSchema = `CREATE TABLE IF NOT EXISTS bodies (
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, run TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL,
  size INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (tenant, run, name)) STRICT;
  CREATE INDEX IF NOT EXISTS bodies_by_age ON bodies (at, size)`
const keysSchema =
  'CREATE TABLE IF NOT EXISTS keys (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL) STRICT'

function openFile(path: string, schema: string): DatabaseSync {
  try {
    const db = new DatabaseSync(path, { timeout: busyMs })
    chmodSync(path, 0o600)
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON')
    db.exec(schema)
    return db
  } catch (thrown) {
    throw stateError('open', path, thrown)
  }
}

class TwoFiles implements Bodies {
  readonly #bodies: DatabaseSync
  readonly #keys: DatabaseSync
  readonly #limits: Required<BodiesOptions>

  constructor(bodies: DatabaseSync, keys: DatabaseSync, limits: Required<BodiesOptions>) {
    this.#bodies = bodies
    this.#keys = keys
    this.#limits = limits
  }

  put(place: Place, bytes: Uint8Array, at: number): void {
    const { tenant, run, name } = place
    const key = randomBytes(32)
    const body = seal(key, place, bytes)
    this.#guard('write', () => {
      const before = this.#idOf(place)
      const added = this.#keys.prepare('INSERT INTO keys (key) VALUES (?)').run(key)
      const sql = 'INSERT OR REPLACE INTO bodies VALUES (?, ?, ?, ?, ?, ?, ?)'
      this.#bodies.prepare(sql).run(added.lastInsertRowid, tenant, run, name, at, body.length, body)
      if (before !== undefined) this.#dropKeys([before])
    })
  }

  get(place: Place): Uint8Array | undefined {
    const row = this.#guard('read', () => {
      const id = this.#idOf(place)
      if (id === undefined) return undefined
      const body = this.#bodies.prepare('SELECT body FROM bodies WHERE id = ?').get(id)?.['body']
      const key = this.#keys.prepare('SELECT key FROM keys WHERE id = ?').get(id)?.['key']
      return body && key ? { body: body as Uint8Array, key: key as Uint8Array } : undefined
    })
    return row && unseal(row.key, place, row.body)
  }

  names(tenant: string, run: string): readonly string[] {
    const sql = 'SELECT name FROM bodies WHERE tenant = ? AND run = ? ORDER BY name'
    return this.#guard('read', () =>
      this.#bodies
        .prepare(sql)
        .all(tenant, run)
        .map((row) => String(row['name'])),
    )
  }

  runs(asked: Parameters<Bodies['runs']>[0]): readonly string[] {
    const { tenant, name, before = '\u{10ffff}', limit } = asked
    const sql =
      'SELECT run FROM bodies WHERE tenant = ? AND name = ? AND run < ? ORDER BY run DESC LIMIT ?'
    return this.#guard('read', () =>
      this.#bodies
        .prepare(sql)
        .all(tenant, name, before, limit)
        .map((row) => String(row['run'])),
    )
  }

  forget(tenant: string, run: string): number {
    const sql = 'SELECT id FROM bodies WHERE tenant = ? AND run = ?'
    return this.#guard('write', () => this.#drop(this.#bodies.prepare(sql).all(tenant, run)))
  }

  retain(now: number): number {
    const old = 'SELECT id FROM bodies WHERE at < ?'
    // The sum from the newest down: where it passes the bound, what is older goes.
    const beyond = `SELECT id FROM (
      SELECT id, sum(size) OVER (ORDER BY at DESC, id DESC) AS total FROM bodies) WHERE total > ?`
    return this.#guard('write', () => {
      const late = this.#drop(this.#bodies.prepare(old).all(now - this.#limits.keptMs))
      return late + this.#drop(this.#bodies.prepare(beyond).all(this.#limits.keptBytes))
    })
  }

  close(): void {
    for (const db of [this.#bodies, this.#keys]) if (db.isOpen) db.close()
  }

  #idOf({ tenant, run, name }: Place): number | undefined {
    const sql = 'SELECT id FROM bodies WHERE tenant = ? AND run = ? AND name = ?'
    return this.#bodies.prepare(sql).get(tenant, run, name)?.['id'] as number | undefined
  }

  /** Keys first: a crash in between leaves a body that nobody can read. */
  #drop(rows: readonly Record<string, unknown>[]): number {
    const ids = rows.map((row) => Number(row['id']))
    if (ids.length === 0) return 0
    this.#dropKeys(ids)
    const sql = 'DELETE FROM bodies WHERE id IN (SELECT value FROM json_each(?))'
    this.#bodies.prepare(sql).run(JSON.stringify(ids))
    return ids.length
  }

  /** Overwritten in the file, and the journal that still has them emptied. */
  #dropKeys(ids: readonly number[]): void {
    const sql = 'DELETE FROM keys WHERE id IN (SELECT value FROM json_each(?))'
    this.#keys.prepare(sql).run(JSON.stringify(ids))
    this.#keys.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  }

  #guard<T>(action: string, work: () => T): T {
    try {
      return work()
    } catch (thrown) {
      throw stateError(action, 'bodies.db', thrown)
    }
  }
}

/** Bound to its place, so that a body moved to another run or tenant does not open. */
function seal(key: Uint8Array, place: Place, bytes: Uint8Array): Uint8Array {
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(boundTo(place))
  const text = [cipher.update(bytes), cipher.final()]
  return Buffer.concat([iv, cipher.getAuthTag(), ...text])
}

function unseal(key: Uint8Array, place: Place, body: Uint8Array): Uint8Array {
  try {
    const iv = body.subarray(0, ivBytes)
    const tag = body.subarray(ivBytes, ivBytes + tagBytes)
    const options = { authTagLength: tagBytes }
    const decipher = createDecipheriv('aes-256-gcm', key, iv, options)
    decipher.setAAD(boundTo(place)).setAuthTag(tag)
    return Buffer.concat([decipher.update(body.subarray(ivBytes + tagBytes)), decipher.final()])
  } catch (thrown) {
    throw new MayflyError(
      'STATE',
      `Cannot read "${place.name}" of run "${place.run}": it was changed`,
      {
        cause: thrown,
      },
    )
  }
}

function boundTo({ tenant, run, name }: Place): Buffer {
  return Buffer.from(JSON.stringify([tenant, run, name]))
}
