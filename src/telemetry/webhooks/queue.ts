import type { DatabaseSync } from 'node:sqlite'
import { stateGuard } from '../../contract/state-guard.ts'
import { openDatabase } from '../../lib/sqlite.ts'

/**
 * Webhook deliveries in SQLite, at least once: they survive a restart, and any number of processes share the file.
 *
 * Mechanism: `claim` is one UPDATE … RETURNING that moves `due` ahead by a lease and counts the attempt, so two
 * processes never hold the same delivery; if the holder dies, the delivery is due again after the lease. A receiver
 * may get a delivery twice (crash between its answer and `remove`): it deduplicates by `webhook-id`.
 *
 * Bounds for each receiver, per tenant and in total; a full queue refuses.
 */
export class DeliveryQueue {
  readonly #db: DatabaseSync
  readonly #tenantMax: number
  readonly #totalMax: number

  constructor(db: DatabaseSync, { tenantMax = 1000, totalMax = 10_000 }: QueueBounds) {
    this.#db = db
    this.#tenantMax = tenantMax
    this.#totalMax = totalMax
  }

  /** False at a limit; each receiver has its own, and each tenant of it, so that none can fill the queue of others. */
  put({ id, url, tenant, body, due }: Delivery): boolean {
    const sql = `INSERT INTO letters SELECT ?, ?, ?, ?, ?, 0
      WHERE (SELECT count(*) FROM letters WHERE url = ?) < ?
      AND (SELECT count(*) FROM letters WHERE url = ? AND tenant = ?) < ?`
    const values = [id, url, tenant, body, Math.ceil(due)]
    const bounds = [url, this.#totalMax, url, tenant, this.#tenantMax]
    return guard('write', () => this.#db.prepare(sql).run(...values, ...bounds).changes === 1)
  }

  /**
   * Leases the oldest due delivery of a receiver for `leaseMs`, round-robin over tenants (the one after `last`): a flood of
   * one tenant delays an alarm of another by one delivery at most. A due time beyond the longest back-off means that the
   * clock was set back after the delivery was postponed: it is due as well.
   */
  claim(url: string, date: number, last = ''): LeasedDelivery | undefined {
    const sql = `UPDATE letters SET due = ?, tries = tries + 1
      WHERE id = (SELECT id FROM letters WHERE url = ? AND (due <= ? OR due > ?)
        ORDER BY tenant <= ?, tenant, due, id LIMIT 1)
      RETURNING *`
    const now = Math.floor(date)
    const row = guard('write', () =>
      this.#db.prepare(sql).get(now + leaseMs, url, now, now + dueMsMax, last),
    )
    if (!row) return undefined
    return {
      id: String(row['id']),
      url,
      tenant: String(row['tenant']),
      body: String(row['body']),
      due: Number(row['due']),
      tries: Number(row['tries']),
    }
  }

  /** Earliest due time; undefined if the queue is empty. */
  nextDue(url: string): number | undefined {
    const sql = 'SELECT min(due) AS due FROM letters WHERE url = ?'
    const due = guard('read', () => this.#db.prepare(sql).get(url)?.['due'])
    return typeof due === 'number' ? due : undefined
  }

  /** Postpones a delivery. */
  postpone(id: string, due: number): void {
    const sql = 'UPDATE letters SET due = ? WHERE id = ?'
    guard('write', () => this.#db.prepare(sql).run(Math.ceil(due), id))
  }

  remove(id: string): void {
    guard('write', () => this.#db.prepare('DELETE FROM letters WHERE id = ?').run(id))
  }

  /**
   * Deletes deliveries to other receivers that were due `abandonedMs` before `date`: only a process that is configured for
   * a receiver sends to it. Returns the URLs.
   */
  forgetBut(urls: readonly string[], date: number): readonly string[] {
    const sql = `DELETE FROM letters WHERE due < ? AND url NOT IN (SELECT value FROM json_each(?)) RETURNING url`
    const before = Math.floor(date - abandonedMs)
    const rows = guard('write', () => this.#db.prepare(sql).all(before, JSON.stringify(urls)))
    return [...new Set(rows.map(({ url }) => String(url)))]
  }

  get size(): number {
    return Number(this.#db.prepare('SELECT count(*) AS n FROM letters').get()?.['n'])
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}

export interface Delivery {
  readonly id: string
  readonly url: string
  readonly tenant: string
  readonly body: string
  /** Milliseconds since 1970. */
  readonly due: number
}

export interface LeasedDelivery extends Delivery {
  /** Attempt number, from 1. */
  readonly tries: number
}

export interface QueueBounds {
  readonly tenantMax?: number
  readonly totalMax?: number
}

/** Longer than any attempt; after it the process that holds the lease is presumed dead. */
export const leaseMs = 60_000
/** Longest time until the next attempt. */
export const waitMsMax = 15 * 60_000
/** Age after which a delivery that no process sends is given up: a day. */
export const abandonedMs = 86_400_000
const dueMsMax = Math.max(leaseMs, waitMsMax)
const guard = stateGuard('the webhooks')
const schema = `
CREATE TABLE IF NOT EXISTS letters (
  id TEXT PRIMARY KEY, url TEXT NOT NULL, tenant TEXT NOT NULL, body TEXT NOT NULL, due INTEGER NOT NULL,
  tries INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS by_due ON letters (url, due);
CREATE INDEX IF NOT EXISTS by_tenant ON letters (tenant)`

/** Opens `webhooks.db`; `:memory:` is not persistent. Throws MayflyError STATE. */
export function openQueue(path: string, bounds: QueueBounds = {}): DeliveryQueue {
  return guard('open', () => new DeliveryQueue(openDatabase(path, { schema }), bounds))
}
