import type { DatabaseSync, StatementSync } from 'node:sqlite'
import * as z from 'zod'
import type { Anomaly } from '../contract/anomaly.ts'
import { stateGuard } from '../contract/state-guard.ts'
import {
  type Baseline,
  baselineSchema,
  freezeBaseline,
  isLearning,
  withRun,
  noBaseline,
} from './baseline.ts'
import type { RunTrail } from './trail.ts'
import type { PastCalls } from '../contract/zones.ts'
import { parseJson } from '../lib/parse-json.ts'
import { preparing } from '../lib/prepared.ts'
import { openDatabase, transact } from '../lib/sqlite.ts'

/** Key of a baseline: an effect or image of a tenant and the hash of its code, so that changed code starts anew. */
export interface BaselineKey {
  readonly tenant: string
  /** `effect:NAME`, `image:NAME` or `instance:ID`. */
  readonly name: string
  /** Digest from the code's verdict. */
  readonly code: string
}

/** Baselines of all tenants, isolated from each other. Any number of processes share the file. */
export class BaselineStore {
  readonly #db: DatabaseSync
  readonly #prepare: (sql: string) => StatementSync
  readonly #countMax: number

  constructor(db: DatabaseSync, countMax: number) {
    this.#db = db
    this.#prepare = preparing(db)
    this.#countMax = countMax
  }

  get(subject: BaselineKey): Baseline | undefined {
    return guard('read', () => this.#read(subject))
  }

  /** Learns one run. `full`: the tenant has too many subjects; none is evicted for a new one. */
  learn(
    subject: BaselineKey,
    trail: RunTrail,
    anomalies: readonly Anomaly[],
  ): 'learned' | 'done' | 'full' {
    return this.#transact(() => {
      const before = this.#read(subject)
      if (before && !isLearning(before)) return 'done'
      if (!before && this.#count(subject.tenant) >= this.#countMax) return 'full'
      this.#write(subject, withRun(before ?? noBaseline, trail, anomalies))
      return 'learned'
    })
  }

  /** Stops learning: items not seen so far become anomalies. False if there is no baseline. */
  freeze(subject: BaselineKey): boolean {
    return this.#transact(() => {
      const before = this.#read(subject)
      if (before) this.#write(subject, freezeBaseline(before))
      return before !== undefined
    })
  }

  /** Deletes all baselines of a name, for any code; returns the number of deleted rows. */
  reset({ tenant, name }: Pick<BaselineKey, 'tenant' | 'name'>): number {
    const removeFrom = (table: string) =>
      Number(
        this.#prepare(`DELETE FROM ${table} WHERE tenant = ? AND name = ?`).run(tenant, name)
          .changes,
      )
    return this.#transact(() => removeFrom('baselines') + removeFrom('pasts'))
  }

  /** Capabilities called by each zone of an instance (`instance:ID`) in its first successful run. */
  past({ tenant, name, code }: BaselineKey): PastCalls | undefined {
    const used =
      'UPDATE pasts SET used = (SELECT max(used) + 1 FROM pasts) WHERE tenant = ? AND name = ? AND code = ?'
    const row = guard('read', () =>
      this.#prepare(`${used} RETURNING about`).get(tenant, name, code),
    )
    return row && guard('read', () => pastIn(row['about']))
  }

  /** Stores the first call only, so that later runs cannot widen it. The least recently used instance is evicted. */
  keepPast({ tenant, name, code }: BaselineKey, past: PastCalls): void {
    const about = JSON.stringify([...past].map(([zone, names]) => [zone, [...names]]))
    this.#transact(() => {
      this.#prepare(
        'INSERT OR IGNORE INTO pasts VALUES (?, ?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM pasts))',
      ).run(tenant, name, code, about)
      this.#prepare(
        `DELETE FROM pasts WHERE tenant = ? AND rowid NOT IN
             (SELECT rowid FROM pasts WHERE tenant = ? ORDER BY used DESC LIMIT ?)`,
      ).run(tenant, tenant, this.#countMax)
    })
  }

  /** Baselines of a tenant, ordered by name and code. */
  export(tenant: string, name?: string): readonly StoredBaseline[] {
    const sql =
      'SELECT name, code, about FROM baselines WHERE tenant = ? AND name = coalesce(?, name) ORDER BY name, code'
    const rows = guard('read', () => this.#prepare(sql).all(tenant, name ?? null))
    return rows.map((row) => ({
      tenant,
      name: String(row['name']),
      code: String(row['code']),
      baseline: guard('read', () => parsed(row['about'])),
    }))
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #read({ tenant, name, code }: BaselineKey): Baseline | undefined {
    const sql = 'SELECT about FROM baselines WHERE tenant = ? AND name = ? AND code = ?'
    const row = this.#prepare(sql).get(tenant, name, code)
    return row && parsed(row['about'])
  }

  #write({ tenant, name, code }: BaselineKey, baseline: Baseline): void {
    const sql = 'INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?)'
    this.#prepare(sql).run(tenant, name, code, JSON.stringify(baseline))
  }

  #count(tenant: string): number {
    const sql = 'SELECT count(*) AS n FROM baselines WHERE tenant = ?'
    return Number(this.#prepare(sql).get(tenant)?.['n'])
  }

  #transact<T>(work: () => T): T {
    return guard('write', () => transact(this.#db, work))
  }
}

export interface StoredBaseline extends BaselineKey {
  readonly baseline: Baseline
}

/** Limit of subjects per tenant. */
export const subjectsMax = 10_000
const guard = stateGuard('the baselines')
const schema = `
CREATE TABLE IF NOT EXISTS baselines (
  tenant TEXT NOT NULL, name TEXT NOT NULL, code TEXT NOT NULL, about TEXT NOT NULL,
  PRIMARY KEY (tenant, name, code)) STRICT;
CREATE TABLE IF NOT EXISTS pasts (
  tenant TEXT NOT NULL, name TEXT NOT NULL, code TEXT NOT NULL, about TEXT NOT NULL, used INTEGER NOT NULL,
  PRIMARY KEY (tenant, name, code)) STRICT`

export const storedBaseline: z.ZodType<StoredBaseline> = z.object({
  tenant: z.string(),
  name: z.string(),
  code: z.string(),
  baseline: baselineSchema,
})

/** Pairs instead of an object: zone names may be `__proto__` or other inherited keys. */
const pastSchema = z.array(z.tuple([z.string(), z.array(z.string())]))

/** Opens `baselines.db`; `:memory:` keeps nothing on disk. Throws MayflyError STATE. */
export function openBaselineStore(path: string, countMax = subjectsMax): BaselineStore {
  return guard(
    'open',
    () => new BaselineStore(openDatabase(path, { schema, isShredded: true }), countMax),
  )
}

function parsed(about: unknown): Baseline {
  return baselineSchema.parse(parseJson(String(about)))
}

function pastIn(about: unknown): PastCalls {
  const zones = pastSchema.parse(parseJson(String(about)))
  return new Map(zones.map(([zone, names]) => [zone, new Set(names)]))
}
