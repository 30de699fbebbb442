import type { DatabaseSync } from 'node:sqlite'
import type { Row } from './connection.ts'

/**
 * Covers the sums and the order of deletion below: neither reads a body, of which there are a million. Keys are left
 * out, because a tenant may have hundreds of thousands that are older than its first other body. SQLite takes an index
 * as covering only if it has the column of its own condition.
 */
export const evictionIndex =
  "CREATE INDEX IF NOT EXISTS bodies_evictable ON bodies (tenant, at, id, size, name) WHERE name <> 'key'"

/** Bytes of each tenant: 50 ms for a million bodies, by the index. */
export const tenantSums =
  "SELECT tenant, sum(size) AS size FROM bodies WHERE name <> 'key' GROUP BY tenant"

/**
 * The bodies to delete so that all fit into `bytesMax`, oldest first, `rowsMax` at most. Each tenant keeps its newest bodies
 * up to an equal share, so that no tenant's data evicts another's share; beyond the shares, the oldest go. Idempotency keys
 * have a room of their own (key-room.ts).
 */
export function bodiesBeyondShares(
  db: DatabaseSync,
  { bytesMax, rowsMax }: { readonly bytesMax: number; readonly rowsMax: number },
): readonly Row[] {
  const sums = db.prepare(tenantSums).all()
  let excess = sums.reduce((total, { size }) => total + Number(size), 0) - bytesMax
  if (excess <= 0) return []
  const share = Math.floor(bytesMax / sums.length)
  const tenants = sums
    .filter(({ size }) => Number(size) > share)
    .map(({ tenant, size }) => new OldestFirst(db, String(tenant), Number(size) - share))
  const rows: Row[] = []
  try {
    while (excess > 0 && rows.length < rowsMax) {
      const row = tenants.reduce((a, b) => (b.isOlderThan(a) ? b : a)).take()
      if (!row) break
      excess -= Number(row['size'])
      rows.push(row)
    }
    return rows
  } finally {
    for (const tenant of tenants) tenant.close()
  }
}

/** Bodies of one tenant beyond its share, by age. */
class OldestFirst {
  readonly #rows: Iterator<Row>
  #beyond: number
  #next: Row | undefined

  constructor(db: DatabaseSync, tenant: string, beyond: number) {
    const sql = "SELECT id, size, at FROM bodies WHERE tenant = ? AND name <> 'key' ORDER BY at, id"
    this.#rows = db.prepare(sql).iterate(tenant)
    this.#beyond = beyond
    this.#read()
  }

  isOlderThan(other: OldestFirst): boolean {
    if (!this.#next || !other.#next) return !other.#next
    const [a, b] = [this.#next, other.#next]
    const ages = Number(a['at']) - Number(b['at'])
    return ages < 0 || (ages === 0 && Number(a['id']) < Number(b['id']))
  }

  take(): Row | undefined {
    const row = this.#next
    this.#beyond -= Number(row?.['size'] ?? 0)
    this.#read()
    return row
  }

  /** Ends the statement, which would hold its snapshot of the file. */
  close(): void {
    this.#rows.return?.()
  }

  #read(): void {
    this.#next = this.#beyond > 0 ? (this.#rows.next().value as Row | undefined) : undefined
  }
}
