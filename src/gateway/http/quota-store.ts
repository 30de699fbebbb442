import { DatabaseSync } from 'node:sqlite'
import { MayflyError, messageOf } from '../../contract/error.ts'
import { transact } from '../../lib/sqlite.ts'
import { claimStoreFile } from '../../lib/store-file.ts'
import { healedMs } from './quota-bucket.ts'

/** Bucket levels on disk; `at` is milliseconds since 1970. */
export type QuotaStore = ReturnType<typeof storeOn>

export interface BucketCapacity {
  readonly tenant: string
  readonly name: string
  /** Capacity in units, which is also the refill per minute. */
  readonly capacity: number
}

export interface BucketLevel {
  readonly level: number
  readonly at: number
}

export interface BucketSpend {
  readonly tenant: string
  readonly name: string
  /** Level in the caller's memory; used if no row exists. */
  readonly level: number
  readonly spent: number
}

const busyMs = 2000
/** Expiry of idle buckets: they restart full, whatever their debt. */
const keepMs = 7 * 86_400_000
/** Pattern of visitors' buckets, which contain addresses: deleted as soon as any debt must be paid. */
const visitors = '*#*'

/** Opens `quota.db`, created with mode 0600 on first use. Throws MayflyError STATE. */
export function openQuotaStore(path: string, now: number): QuotaStore {
  try {
    claimStoreFile(path)
    const db = new DatabaseSync(path, { timeout: busyMs })
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    db.exec(`CREATE TABLE IF NOT EXISTS buckets (
      tenant TEXT NOT NULL, name TEXT NOT NULL, level REAL NOT NULL, at INTEGER NOT NULL,
      PRIMARY KEY (tenant, name)) STRICT`)
    db.prepare('DELETE FROM buckets WHERE at < ?').run(now - keepMs)
    db.prepare('DELETE FROM buckets WHERE at < ? AND tenant GLOB ?').run(now - healedMs, visitors)
    return storeOn(db)
  } catch (thrown) {
    throw new MayflyError('STATE', `Cannot use the quotas in "${path}"`, {
      hint: 'Repair the file, or move it away to start with full quotas',
      detail: messageOf(thrown),
      cause: thrown,
    })
  }
}

function storeOn(db: DatabaseSync) {
  const select = db.prepare('SELECT level, at FROM buckets WHERE tenant = ? AND name = ?')
  const upsert = db.prepare('INSERT OR REPLACE INTO buckets VALUES (?, ?, ?, ?)')
  const forget = db.prepare(
    'DELETE FROM buckets WHERE tenant = ? AND name = ? AND level + (? - at) * (? / 60000.0) >= ?',
  )
  const read = (tenant: string, name: string): BucketLevel | undefined => {
    const row = select.get(tenant, name)
    return row && { level: Number(row['level']), at: Number(row['at']) }
  }
  return {
    read,
    /** Replaces the stored levels by the `next` ones, less what was spent, and returns these; in one transaction. */
    spend<B extends BucketSpend>(
      buckets: readonly B[],
      at: number,
      next: (level: number, at: number, bucket: B) => number,
    ): readonly number[] {
      return transact(db, () =>
        buckets.map((bucket) => {
          const { tenant, name } = bucket
          const saved = read(tenant, name)
          const level = saved ? next(saved.level, saved.at, bucket) : bucket.level
          upsert.run(tenant, name, level, at)
          return level
        }),
      )
    },
    /** Deletes the rows of buckets that are full again, also according to other servers' writes. */
    forget(buckets: readonly BucketCapacity[], at: number): void {
      transact(db, () => {
        for (const { tenant, name, capacity } of buckets)
          forget.run(tenant, name, at, capacity, capacity)
      })
    },
    close: () => db.close(),
  }
}
