import { randomBytes } from 'node:crypto'
import { existsSync, statfsSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { setImmediate as turn } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'
import { preparing } from '../lib/prepared.ts'
import { seal, unseal } from '../lib/sealed.ts'
import { openUnversioned, transact } from '../lib/sqlite.ts'
import { assertPlainStore } from '../lib/store-file.ts'
import type { Row } from './connection.ts'
import { bodiesBeyondShares, evictionIndex } from './fair-eviction.ts'
import { keyIndex, keyLimitsOf, KeyRoom, type KeyLack, type KeyLimits } from './key-room.ts'
import { openReadOnly } from './open-readonly.ts'
import { hasFree, stateError, type RoomLack } from './state-error.ts'

export interface BodyKey {
  readonly tenant: string
  readonly run: string
  readonly name: string
}

export interface Body {
  readonly place: BodyKey
  readonly bytes: Uint8Array
}

/** Bodies of a run with a common name prefix. */
export interface BodyFolder {
  readonly run: string
  readonly name: string
  /** Stored size in bytes. */
  readonly size: number
}

/** 24 hours. */
export const retentionMs = 86_400_000
export const retainedBytesMax = 2 ** 30
/** Bodies to be deleted that one query lists. */
const rowsMax = 10_000
const nothing = () => undefined
/** Left to the record, without which no job runs, and to the sweep: by large bodies 64 MiB, or a share of a small disk. */
const recordBytes = { min: 2 ** 22, max: 2 ** 26, share: 1 / 16 }
/** Bodies that are stored while a write succeeds: rows, keys and most outcomes, which are no larger than the lines of their run. */
const smallBytesMax = 2 ** 14
const largeBytesMin = 2 ** 20
/** Most bytes that are stored between two sweeps, as a multiple of `retainedBytesMax`, and the part of it after which a sweep is due. */
const unsweptMax = { stored: 2, due: 1 / 8 }
/** Free bytes of the file that stay in it for the next bodies. */
const slackBytes = 2 ** 24

export interface BodiesOptions {
  readonly retentionMs?: number
  readonly retainedBytesMax?: number
  /** Limits of idempotency keys. */
  readonly keyLimits?: KeyLimits
  /**
   * Called after each body with its size, for an owner that writes the WAL of `bodies.db` back on a thread, because that waits for
   * the disk: 30 ms for some megabytes. Without it SQLite writes it back within a put.
   */
  readonly written?: (bytes: number) => void
}

function limitsIn(folder: string, options: BodiesOptions): Required<BodiesOptions> {
  const disk = attempt(() => statfsSync(folder))
  // Some file systems do not tell their size.
  const diskBytes = disk ? disk.blocks * disk.bsize : 0
  const keyLimits = keyLimitsOf(diskBytes || Infinity)
  return { retentionMs, retainedBytesMax, keyLimits, written: nothing, ...options }
}

/** WAL limit in pages of 4 KiB if its owner writes it back, in case the owner fails to. */
const walPagesMax = 20_000

/** Bytes overwritten between two yields to the event loop. */
const bytesAtOnce = 2 ** 20
const pagesAtOnce = bytesAtOnce / 4096

/** Sweeps under way. */
const sweeps = new WeakMap<Bodies, Promise<void>>()

/**
 * Applies retention and the byte limit, with yields to the event loop. A store is swept once at a time: a call in between
 * waits for the sweep that is under way. Rejects with MayflyError STATE.
 */
export function forgetExpired(bodies: Bodies, now: number): Promise<void> {
  const sweep = sweeps.get(bodies) ?? sweepInTurns(bodies, now).finally(() => sweeps.delete(bodies))
  sweeps.set(bodies, sweep)
  return sweep
}

/** Resolves once no sweep of the store is under way; before it is closed. */
export async function sweepEnded(bodies: Bodies): Promise<void> {
  await sweeps.get(bodies)?.catch(nothing)
}

async function sweepInTurns(bodies: Bodies, now: number): Promise<void> {
  for (const _ of bodies.retain(now, bytesAtOnce)) await turn()
}

/**
 * Applies retention to a folder without a server, which sweeps each minute, if nothing was written there for as long as
 * bodies are retained: then all have expired. Creates nothing. Rejects with MayflyError STATE.
 */
export async function forgetUnattended(folder: string, now: number): Promise<void> {
  const file = join(folder, 'bodies.db')
  const found = statSync(file, { throwIfNoEntry: false })
  if (!found || found.mtimeMs > now - retentionMs) return
  const bodies = openBodies(folder)
  try {
    await forgetExpired(bodies, now)
  } finally {
    bodies.close()
  }
  // Later runs need not look again today.
  utimesSync(file, new Date(now), new Date(now))
}

/** Opens `bodies.db` and `body-keys.db` of a state folder; makes them on first use. */
export function openBodies(folder: string, options: BodiesOptions = {}): Bodies {
  const bodies = openFile(join(folder, 'bodies.db'), bodiesSchema)
  // A full disk may refuse each of these, without which the store works: its sweep makes room.
  for (const change of newIndexes) attempt(() => bodies.exec(change))
  if (options.written) bodies.exec(`PRAGMA wal_autocheckpoint = ${walPagesMax}`)
  const keys = openFile(join(folder, 'body-keys.db'), keysSchema)
  return new Bodies(bodies, keys, limitsIn(folder, options))
}

const bodiesSchema = `CREATE TABLE IF NOT EXISTS bodies (
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, run TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL,
  size INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (tenant, run, name)) STRICT;
  CREATE INDEX IF NOT EXISTS bodies_by_age ON bodies (at, size);`
/** Changes of a store that an earlier version made. */
const newIndexes = ['DROP INDEX IF EXISTS bodies_of_tenant_by_age', evictionIndex, keyIndex]
const keysSchema =
  'CREATE TABLE IF NOT EXISTS keys (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL) STRICT'

/** Read-only part of the store. */
export type BodiesRead = Pick<Bodies, 'get' | 'names' | 'places' | 'close'>

/** Opens the store read-only and creates nothing. Throws MayflyError NOT_FOUND if there is none, and STATE. */
export function readBodies(folder: string): BodiesRead {
  const [bodies, keys] = ['bodies.db', 'body-keys.db'].map((name) => join(folder, name))
  if (!existsSync(bodies!) || !existsSync(keys!))
    throw new MayflyError('NOT_FOUND', `Cannot find anything kept of runs in "${folder}"`)
  return new Bodies(openToRead(bodies!), openToRead(keys!), limitsIn(folder, {}))
}

function openToRead(path: string): DatabaseSync {
  try {
    assertPlainStore(path)
    return openReadOnly(path)
  } catch (thrown) {
    throw stateError('open', path, thrown)
  }
}

function openFile(path: string, schema: string): DatabaseSync {
  try {
    return openUnversioned(path, { schema, isShredded: true, isShrinkable: true })
  } catch (thrown) {
    throw stateError('open', path, thrown)
  }
}

/**
 * Store of bodies the audit log only commits to: AES-256-GCM with a key per body.
 *
 * Mechanism: keys are in a separate file, so backups of the bodies can still be forgotten: deleting and overwriting
 * the key makes every copy of the body unreadable (crypto-shredding).
 *
 * Not handled: a reader of both files reads everything, and the disk's own remapping may retain overwritten blocks.
 */
export class Bodies {
  readonly #bodies: DatabaseSync
  readonly #keys: DatabaseSync
  readonly #ofBodies: (sql: string) => StatementSync
  readonly #ofKeys: (sql: string) => StatementSync
  readonly #limits: Required<BodiesOptions>
  readonly #keyRoom: KeyRoom
  /** Bytes stored since the last sweep. */
  #unswept = 0

  constructor(bodies: DatabaseSync, keys: DatabaseSync, limits: Required<BodiesOptions>) {
    this.#bodies = bodies
    this.#keys = keys
    this.#ofBodies = preparing(bodies)
    this.#ofKeys = preparing(keys)
    this.#limits = limits
    this.#keyRoom = new KeyRoom(bodies, limits.keyLimits)
  }

  /** Stores bytes under a run and a name, replacing older ones. */
  put(place: BodyKey, bytes: Uint8Array, at: number): void {
    this.putAll([{ place, bytes }], at)
  }

  /** Stores several in one transaction of each file. */
  putAll(list: readonly Body[], at: number): void {
    const sealed = list.map(({ place, bytes }) => {
      const key = randomBytes(32)
      return { place, key, body: seal(key, boundTo(place), bytes) }
    })
    this.#guard('write', () => {
      const insertKey = this.#ofKeys('INSERT INTO keys (key) VALUES (?)')
      const ids = transact(this.#keys, () =>
        sealed.map(({ key }) => insertKey.run(key).lastInsertRowid),
      )
      const insert = this.#ofBodies('INSERT OR REPLACE INTO bodies VALUES (?, ?, ?, ?, ?, ?, ?)')
      const replaced = transact(this.#bodies, () =>
        sealed.map(({ place, body }, n) => {
          const before = this.#rowOf(place)
          const { tenant, run, name } = place
          insert.run(ids[n]!, tenant, run, name, at, body.length, body)
          return before
        }),
      )
      for (const [n, { place, body }] of sealed.entries()) {
        const before = replaced[n]
        this.#countKey(place, before ? 0 : 1, body.length - (before?.size ?? 0))
      }
      const stale = replaced.flatMap((row) => (row ? [row.id] : []))
      if (stale.length > 0) this.#dropKeys(stale)
    })
    for (const { body } of sealed) {
      this.#unswept += body.length
      this.#limits.written(body.length)
    }
  }

  /** True once so much was stored since the last sweep that the next is due before its time. */
  get isSweepDue(): boolean {
    return this.#unswept > this.#limits.retainedBytesMax * unsweptMax.due
  }

  /**
   * Names what has no room for so many bytes, in the WAL and in the file, with its free pages: the store within its limit,
   * of which idempotency keys use up nothing, or the disk beside the record, also for `beside` in other files of the folder.
   * Undefined if both have, and for small bodies: a full disk refuses them itself.
   */
  roomLack(bytes: number, beside = 0): RoomLack | undefined {
    const all = bytes + beside
    if (all <= smallBytesMax) return undefined
    const { used, free, unwritten } = this.#pages()
    const others = Math.max(0, used - this.#guard('read', () => this.#keyRoom.fileBytes))
    if (others + bytes > this.#limits.retainedBytesMax * unsweptMax.stored) return 'store'
    const grown = Math.max(0, bytes - free)
    const { min, max, share } = recordBytes
    const hasDisk = hasFree(this.#bodies.location() ?? '', (diskBytes) => {
      const left = all < largeBytesMin ? min : Math.max(min, Math.min(max, diskBytes * share))
      return all + grown + unwritten + left
    })
    return hasDisk ? undefined : 'disk'
  }

  /** Undefined if this tenant may have one more idempotency key. */
  keyLack(tenant: string): KeyLack | undefined {
    return this.#guard('read', () => this.#keyRoom.lack(tenant))
  }

  /** Bytes of the pages in use, of the free ones, and of those that are in the WAL alone. */
  #pages(): { readonly used: number; readonly free: number; readonly unwritten: number } {
    const sql = `SELECT page_count * page_size AS size, freelist_count * page_size AS free
      FROM pragma_page_count, pragma_page_size, pragma_freelist_count`
    const [row] = this.#rows(sql, {})
    const [size, free] = [Number(row?.['size']), Number(row?.['free'])]
    const onDisk = attempt(() => statSync(this.#bodies.location() ?? '').size) ?? size
    return { used: size - free, free, unwritten: Math.max(0, size - onDisk) }
  }

  /** Undefined if missing or forgotten. Throws MayflyError STATE if the body was altered. */
  get(place: BodyKey): Uint8Array | undefined {
    const row = this.#guard('read', () => {
      const id = this.#rowOf(place)?.id
      if (id === undefined) return undefined
      const body = this.#ofBodies('SELECT body FROM bodies WHERE id = ?').get(id)?.['body']
      const key = this.#ofKeys('SELECT key FROM keys WHERE id = ?').get(id)?.['key']
      return body && key ? { body: body as Uint8Array, key: key as Uint8Array } : undefined
    })
    return row && opened(row.key, place, row.body)
  }

  /** Names stored for a run. */
  names(tenant: string, run: string): readonly string[] {
    const sql = 'SELECT name FROM bodies WHERE tenant = $tenant AND run = $run ORDER BY name'
    return this.#rows(sql, { tenant, run }).map(({ name }) => String(name))
  }

  /** Runs of a tenant with a body of this name, by descending id, below `before`. */
  runs({
    tenant,
    name,
    before = '\u{10ffff}',
    limit,
  }: Pick<BodyKey, 'tenant' | 'name'> & {
    readonly before: string | undefined
    readonly limit: number
  }): readonly string[] {
    const sql = `SELECT run FROM bodies WHERE tenant = $tenant AND name = $name AND run < $before
      ORDER BY run DESC LIMIT $limit`
    return this.#rows(sql, { tenant, name, before, limit }).map(({ run }) => String(run))
  }

  /** Keys of bodies whose name matches a GLOB pattern, newest first; optionally of one tenant or run. */
  places({ like, tenant, run, limit }: BodiesOf): readonly BodyKey[] {
    const given = { like, limit, ...(tenant != null && { tenant }), ...(run != null && { run }) }
    return this.#rows(placesSql({ tenant, run }), given).map(placeOf)
  }

  /**
   * Folders of a tenant with a body `FOLDER/MARK` whose name matches a GLOB pattern, newest first, with the bytes of
   * all bodies in the folder. Reads names and sizes only, and decrypts nothing.
   */
  folders(tenant: string, like: string): readonly BodyFolder[] {
    // `0` follows `/` in ASCII, so the folder is an index range.
    const sql = `WITH marked AS (
      SELECT id, run, substr(name, 1, length(name) - $end) AS folder FROM bodies
      WHERE tenant = $tenant AND name GLOB $like)
      SELECT marked.run, folder, sum(size) AS total FROM marked CROSS JOIN bodies AS b
      ON b.tenant = $tenant AND b.run = marked.run AND b.name > folder || '/' AND b.name < folder || '0'
      GROUP BY marked.id ORDER BY marked.id DESC`
    const rows = this.#rows(sql, { tenant, like, end: like.length - like.lastIndexOf('/') })
    return rows.map(({ run, folder, total }) => ({
      run: String(run),
      name: String(folder),
      size: Number(total),
    }))
  }

  /** Crypto-shreds bodies of a run: all, or those whose name matches a GLOB pattern. */
  forget(tenant: string, run: string, like = '*'): number {
    const sql =
      'SELECT id, size, tenant, name FROM bodies WHERE tenant = ? AND run = ? AND name GLOB ?'
    return this.#guard('write', () => this.#drop(this.#bodies.prepare(sql).all(tenant, run, like)))
  }

  /**
   * Forgets bodies older than `retentionMs`, and the oldest beyond `retainedBytesMax`; yields how many after each `bytesMax`
   * (at least one body), because overwriting takes time: the caller lets other work run in between. Bodies stored in between
   * are left to the next sweep, so that it ends. At last, free pages are returned to the disk.
   */
  *retain(now: number, bytesMax = Infinity): Generator<number> {
    this.#unswept = 0
    const last = Number(this.#rows('SELECT max(id) AS id FROM bodies', {})[0]?.['id'] ?? 0)
    for (;;) {
      const rows = this.#guard('read', () => this.#excess(now)).filter(
        ({ id }) => Number(id) <= last,
      )
      if (rows.length === 0) break
      for (const part of inParts(bytesMax, rows)) yield this.#guard('write', () => this.#drop(part))
    }
    this.#keyRoom.swept()
    yield* this.#shrink()
  }

  /** The file would keep its largest size, and the record of each job would lack that room. */
  *#shrink(): Generator<number> {
    let { free } = this.#pages()
    while (free > slackBytes) {
      this.#guard('write', () => this.#bodies.exec(`PRAGMA incremental_vacuum(${pagesAtOnce})`))
      this.#limits.written(bytesAtOnce)
      const before = free
      free = this.#pages().free
      if (free >= before) return
      yield 0
    }
  }

  /** The query of the shares takes time for all bodies, so its answer serves many deletions. */
  #excess(now: number): readonly Row[] {
    const { retentionMs: ms, retainedBytesMax: most } = this.#limits
    const old = 'SELECT id, size, tenant, name FROM bodies WHERE at < ? ORDER BY at LIMIT ?'
    const expired = this.#ofBodies(old).all(now - ms, rowsMax)
    if (expired.length > 0) return expired
    return bodiesBeyondShares(this.#bodies, { bytesMax: most, rowsMax })
  }

  close(): void {
    for (const db of [this.#bodies, this.#keys]) if (db.isOpen) db.close()
  }

  #countKey({ tenant, name }: Pick<BodyKey, 'tenant' | 'name'>, keys: number, bytes: number): void {
    if (name === 'key') this.#keyRoom.add(tenant, keys, bytes)
  }

  #rowOf({ tenant, run, name }: BodyKey) {
    const sql = 'SELECT id, size FROM bodies WHERE tenant = ? AND run = ? AND name = ?'
    const row = this.#ofBodies(sql).get(tenant, run, name)
    return row && { id: Number(row['id']), size: Number(row['size']) }
  }

  /** Deletes keys first: a crash in between leaves an unreadable body. A row of an idempotency key has its name. */
  #drop(rows: readonly Row[]): number {
    const ids = rows.map((row) => Number(row['id']))
    if (ids.length === 0) return 0
    this.#dropKeys(ids)
    const sql = 'DELETE FROM bodies WHERE id IN (SELECT value FROM json_each(?))'
    this.#bodies.prepare(sql).run(JSON.stringify(ids))
    for (const { tenant, name, size } of rows)
      this.#countKey({ tenant: String(tenant), name: String(name) }, -1, -Number(size))
    return ids.length
  }

  /** `secure_delete` overwrites the rows; truncating the WAL removes its copies. */
  #dropKeys(ids: readonly number[]): void {
    const sql = 'DELETE FROM keys WHERE id IN (SELECT value FROM json_each(?))'
    this.#keys.prepare(sql).run(JSON.stringify(ids))
    this.#keys.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  }

  #rows(sql: string, asked: Record<string, SQLInputValue>): readonly Row[] {
    return this.#guard('read', () => this.#bodies.prepare(sql).all(asked))
  }

  #guard<T>(action: string, work: () => T): T {
    try {
      return work()
    } catch (thrown) {
      throw stateError(action, 'bodies.db, body-keys.db', thrown)
    }
  }
}

interface BodiesOf {
  readonly like: string
  readonly tenant?: string | null | undefined
  readonly run?: string | null | undefined
  readonly limit: number
}

/**
 * With a run, reads the index of its bodies alone, for each tenant if none is given: the store has a million rows, and a
 * scan of them for one request would block the event loop. Without a run it scans.
 */
export function placesSql({ tenant, run }: Pick<BodiesOf, 'tenant' | 'run'>): string {
  const found = 'SELECT b.tenant AS tenant, b.run AS run, b.name AS name FROM'
  const end = 'b.name GLOB $like ORDER BY b.id DESC LIMIT $limit'
  if (run == null)
    return `${found} bodies AS b WHERE ${tenant == null ? '' : 'b.tenant = $tenant AND'} ${end}`
  const own = 'bodies AS b ON b.tenant = t.tenant AND b.run = $run'
  if (tenant != null) return `${found} (SELECT $tenant AS tenant) AS t CROSS JOIN ${own} AND ${end}`
  return `WITH RECURSIVE t(tenant) AS (SELECT min(tenant) FROM bodies UNION ALL
      SELECT (SELECT min(tenant) FROM bodies WHERE tenant > t.tenant) FROM t WHERE t.tenant IS NOT NULL)
    ${found} t CROSS JOIN ${own} AND ${end}`
}

/** Parts of rows up to a byte limit each, of at least one row. */
function* inParts(bytesMax: number, rows: readonly Row[]): Generator<readonly Row[]> {
  let part: Row[] = []
  let bytes = 0
  for (const row of rows) {
    const size = Number(row['size'])
    if (part.length > 0 && bytes + size > bytesMax) {
      yield part
      part = []
      bytes = 0
    }
    part.push(row)
    bytes += size
  }
  if (part.length > 0) yield part
}

function placeOf(row: Row): BodyKey {
  return { tenant: String(row['tenant']), run: String(row['run']), name: String(row['name']) }
}

function opened(key: Uint8Array, place: BodyKey, body: Uint8Array): Uint8Array {
  try {
    return unseal(key, boundTo(place), body)
  } catch (cause) {
    const { name, run } = place
    const message = `Cannot read "${name}" of run "${run}": it was changed`
    throw new MayflyError('STATE', message, { cause })
  }
}

/** The storage key as AAD: a body moved to another run or tenant fails to decrypt. */
function boundTo({ tenant, run, name }: BodyKey): string {
  return JSON.stringify([tenant, run, name])
}
