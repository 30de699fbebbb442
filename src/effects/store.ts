import { chmodSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Effect, EffectRow } from '../contract/effect.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Effects of all tenants, keyed by tenant. Several processes may share the file. */
export interface EffectStore {
  /** Adds or replaces an effect. Throws MayflyError CONFLICT at a limit. */
  put(tenant: string, effect: Effect): void
  get(tenant: string, effectId: string): Effect | undefined
  /** Sorted by name. */
  list(tenant: string): readonly EffectRow[]
  /** True if the effect existed. */
  remove(tenant: string, effectId: string): boolean
  close(): void
}

export interface EffectBounds {
  /** Maximum of effects per tenant. */
  readonly countMax?: number
  /** Maximum of UTF-8 code bytes per tenant. */
  readonly bytesMax?: number
}

const busyMs = 5000
const schema = `
CREATE TABLE IF NOT EXISTS meta (format INTEGER NOT NULL) STRICT;
INSERT INTO meta SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM meta);
CREATE TABLE IF NOT EXISTS effects (
  tenant TEXT NOT NULL, id TEXT NOT NULL, about TEXT NOT NULL, code TEXT NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)) STRICT`

/** Opens `effects.db`; `:memory:` is not persistent. Throws MayflyError STATE. */
export function openEffectStore(path: string, bounds: EffectBounds = {}): EffectStore {
  try {
    const inMemory = path === ':memory:'
    if (!inMemory) makeFolder(dirname(path), 0o700)
    const db = new DatabaseSync(path, { timeout: busyMs })
    if (!inMemory) chmodSync(path, 0o600)
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON')
    db.exec(schema)
    assertFormat(db, path)
    return new SqliteStore(db, bounds)
  } catch (thrown) {
    throw broken('open', thrown)
  }
}

class SqliteStore implements EffectStore {
  readonly #db: DatabaseSync
  readonly #countMax: number
  readonly #bytesMax: number

  constructor(db: DatabaseSync, { countMax = 1_000, bytesMax = 64 * 2 ** 20 }: EffectBounds) {
    this.#db = db
    this.#countMax = countMax
    this.#bytesMax = bytesMax
  }

  put(tenant: string, { code, ...about }: Effect): void {
    const bytes = Buffer.byteLength(code)
    const sql = 'INSERT OR REPLACE INTO effects VALUES (?, ?, ?, ?, ?)'
    this.#guard('write', () => {
      this.#db.exec('BEGIN IMMEDIATE')
      try {
        this.#refuseBeyond(tenant, about.effectId, bytes)
        this.#db.prepare(sql).run(tenant, about.effectId, JSON.stringify(about), code, bytes)
        this.#db.exec('COMMIT')
      } catch (thrown) {
        this.#db.exec('ROLLBACK')
        throw thrown
      }
    })
  }

  get(tenant: string, effectId: string): Effect | undefined {
    const sql = 'SELECT about, code FROM effects WHERE tenant = ? AND id = ?'
    const row = this.#guard('read', () => this.#db.prepare(sql).get(tenant, effectId))
    if (!row) return undefined
    return { ...aboutIn(row), code: String(row['code']) }
  }

  list(tenant: string): readonly EffectRow[] {
    const sql = 'SELECT about FROM effects WHERE tenant = ? ORDER BY id'
    return this.#guard('read', () => this.#db.prepare(sql).all(tenant).map(rowIn))
  }

  remove(tenant: string, effectId: string): boolean {
    const sql = 'DELETE FROM effects WHERE tenant = ? AND id = ?'
    return this.#guard('write', () => this.#db.prepare(sql).run(tenant, effectId).changes === 1)
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  /** Excludes the replaced effect from the sums. */
  #refuseBeyond(tenant: string, effectId: string, bytes: number): void {
    const sql =
      'SELECT count(*) AS n, total(bytes) AS sum FROM effects WHERE tenant = ? AND id <> ?'
    const kept = this.#db.prepare(sql).get(tenant, effectId) as { n: number; sum: number }
    const [countMax, bytesMax] = [this.#countMax, this.#bytesMax]
    if (kept.n < countMax && kept.sum + bytes <= bytesMax) return
    throw new MayflyError('CONFLICT', `Cannot keep the effect "${effectId}": there is no room`, {
      hint: 'Remove effects that are not needed any more.',
      details: { countMax, bytesMax },
    })
  }

  #guard<T>(action: string, work: () => T): T {
    try {
      return work()
    } catch (thrown) {
      throw broken(action, thrown)
    }
  }
}

function aboutIn(row: Readonly<Record<string, unknown>>): Omit<Effect, 'code'> {
  return parseJson(String(row['about'])) as Omit<Effect, 'code'>
}

function rowIn(row: Readonly<Record<string, unknown>>): EffectRow {
  const { signature: _signature, publicKey: _key, ...about } = aboutIn(row)
  return about
}

function assertFormat(db: DatabaseSync, path: string): void {
  const format = db.prepare('SELECT format FROM meta').get()?.['format']
  if (format === 1) return
  const what = `Cannot use "${path}": its format is "${String(format)}", not "1"`
  throw new MayflyError('STATE', what, { hint: 'Use the version of Mayfly that wrote it.' })
}

function broken(action: string, thrown: unknown): MayflyError {
  if (thrown instanceof MayflyError) return thrown
  return new MayflyError('STATE', `Cannot ${action} the effects: ${messageOf(thrown)}`, {
    hint: 'Let the state folder exist, have room, and belong to the user that runs Mayfly.',
    cause: thrown,
  })
}
