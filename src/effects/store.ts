import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Effect, EffectRow } from '../contract/effect.ts'
import { MayflyError } from '../contract/error.ts'
import { stateGuard } from '../contract/state-guard.ts'
import { parseJson } from '../lib/parse-json.ts'
import { preparing } from '../lib/prepared.ts'
import { openDatabase, transact } from '../lib/sqlite.ts'

/** Effects of all tenants, keyed by tenant. Several processes may share the file. */
export class EffectStore {
  readonly #db: DatabaseSync
  readonly #prepare: (sql: string) => StatementSync
  readonly #countMax: number
  readonly #bytesMax: number

  constructor(db: DatabaseSync, { countMax = 1_000, bytesMax = 64 * 2 ** 20 }: EffectBounds) {
    this.#db = db
    this.#prepare = preparing(db)
    this.#countMax = countMax
    this.#bytesMax = bytesMax
  }

  /** Adds or replaces an effect. Throws MayflyError CONFLICT at a limit. */
  put(tenant: string, { code, ...about }: Effect): void {
    const signatureText = about.signature === undefined ? '' : JSON.stringify(about.signature)
    // A valid envelope may list files that no job brings: megabytes, which a list of effects reads.
    const bytes = Buffer.byteLength(code + signatureText)
    const sql = 'INSERT OR REPLACE INTO effects VALUES (?, ?, ?, ?, ?)'
    const add = () => {
      this.#refuseBeyond(tenant, about.effectId, bytes)
      this.#db.prepare(sql).run(tenant, about.effectId, JSON.stringify(about), code, bytes)
    }
    guard('write', () => transact(this.#db, add))
  }

  get(tenant: string, effectId: string): Effect | undefined {
    const sql = 'SELECT about, code FROM effects WHERE tenant = ? AND id = ?'
    const row = guard('read', () => this.#prepare(sql).get(tenant, effectId))
    if (!row) return undefined
    return { ...aboutIn(row), code: String(row['code']) }
  }

  /** Sorted by name. */
  list(tenant: string): readonly EffectRow[] {
    const sql = 'SELECT about FROM effects WHERE tenant = ? ORDER BY id'
    return guard('read', () => this.#db.prepare(sql).all(tenant).map(rowIn))
  }

  /** True if the effect existed. */
  remove(tenant: string, effectId: string): boolean {
    const sql = 'DELETE FROM effects WHERE tenant = ? AND id = ?'
    return guard('write', () => this.#db.prepare(sql).run(tenant, effectId).changes === 1)
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
    throw new MayflyError(
      'CONFLICT',
      `Cannot store the effect "${effectId}": the tenant has reached its limit`,
      {
        hint: 'Remove effects that are no longer needed.',
        details: { countMax, bytesMax },
      },
    )
  }
}

export interface EffectBounds {
  /** Maximum of effects per tenant. */
  readonly countMax?: number
  /** Maximum of bytes of code and signatures per tenant. */
  readonly bytesMax?: number
}

const guard = stateGuard('the effects')
const schema = `
CREATE TABLE IF NOT EXISTS effects (
  tenant TEXT NOT NULL, id TEXT NOT NULL, about TEXT NOT NULL, code TEXT NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)) STRICT`

/** Opens `effects.db`; `:memory:` is not persistent. Throws MayflyError STATE. */
export function openEffectStore(path: string, bounds: EffectBounds = {}): EffectStore {
  const options = { schema, synchronous: 'FULL', isShredded: true } as const
  return guard('open', () => new EffectStore(openDatabase(path, options), bounds))
}

function aboutIn(row: Readonly<Record<string, unknown>>): Omit<Effect, 'code'> {
  return parseJson(String(row['about'])) as Omit<Effect, 'code'>
}

function rowIn(row: Readonly<Record<string, unknown>>): EffectRow {
  const { signature: _signature, publicKey: _key, ...about } = aboutIn(row)
  return about
}
