import type { DatabaseSync } from 'node:sqlite'

/** Bytes of a key in the file beside its body: the rest of its row, and its entries of the indexes. */
const besideBytes = 288

/** Covers the sums below, for which SQLite needs the column of its own condition. */
export const keyIndex =
  "CREATE INDEX IF NOT EXISTS bodies_keys ON bodies (tenant, size, name) WHERE name = 'key'"

/** Bytes that the keys of each tenant take in the file, as an estimate: 50 ms for a million of them, by the index. */
export const keySums = `SELECT tenant, sum(size + ${besideBytes}) AS bytes FROM bodies
  WHERE name = 'key' GROUP BY tenant`

/** Bytes that keys may take in the file. */
export interface KeyLimits {
  /** Limit of one tenant. */
  readonly each: number
  /** Limit of all tenants: beyond it each may have an equal share. */
  readonly all: number
}

/** Keys that are too many: those of the tenant, or those of all, of which it has its share. */
export type KeyLack = 'tenant' | 'all'

/** Room of a tenant for more than sixty keys a second, day and night: each takes some 440 bytes. */
const allBytesMax = 5 * 2 ** 30
/** A small disk leaves less: a tenant that fills it stops the jobs of all. */
const diskShare = 1 / 8

/** Limits on a disk of this size. */
export function keyLimitsOf(diskBytes: number): KeyLimits {
  const all = Math.min(allBytesMax, diskBytes * diskShare)
  return { each: all / 2, all }
}

/** Sweeps between two counts, which take a while: an hour of them. */
const sweepsMax = 60

/**
 * Room of the idempotency keys in a store of bodies. A key stays until it expires, because without it a retry runs
 * the code again; so the keys have a room of their own, bounded for each tenant, and take none of other bodies.
 */
export class KeyRoom {
  readonly #db: DatabaseSync
  readonly #limits: KeyLimits
  #all = 0
  /** Bytes by tenant; undefined until the store is asked. */
  #each: Map<string, number> | undefined
  /** Sweeps since then. */
  #sweeps = 0

  constructor(db: DatabaseSync, limits: KeyLimits) {
    this.#db = db
    this.#limits = limits
  }

  /** After a sweep: has the store asked again from time to time, for keys that other processes add and remove. */
  swept(): void {
    if (++this.#sweeps >= sweepsMax) this.#each = undefined
  }

  /** Counts keys that were added, and bytes of bodies; with negative numbers what was removed. */
  add(tenant: string, keys: number, bytes: number): void {
    if (!this.#each) return
    const more = bytes + keys * besideBytes
    this.#each.set(tenant, (this.#each.get(tenant) ?? 0) + more)
    this.#all += more
  }

  /** Bytes that all keys take in the file, as an estimate. */
  get fileBytes(): number {
    this.#counted()
    return this.#all
  }

  /** Undefined if a tenant may have one more. */
  lack(tenant: string): KeyLack | undefined {
    const lack = this.#lack(tenant)
    if (!lack || this.#sweeps === 0) return lack
    // Another process may have removed some since.
    this.#each = undefined
    return this.#lack(tenant)
  }

  #lack(tenant: string): KeyLack | undefined {
    const each = this.#counted()
    const own = each.get(tenant) ?? 0
    if (own >= this.#limits.each) return 'tenant'
    if (this.#all < this.#limits.all) return undefined
    const tenants = each.size + (each.has(tenant) ? 0 : 1)
    return own < this.#limits.all / tenants ? undefined : 'all'
  }

  #counted(): ReadonlyMap<string, number> {
    if (this.#each) return this.#each
    const rows = this.#db.prepare(keySums).all()
    this.#each = new Map(rows.map(({ tenant, bytes }) => [String(tenant), Number(bytes)]))
    this.#all = [...this.#each.values()].reduce((sum, bytes) => sum + bytes, 0)
    this.#sweeps = 0
    return this.#each
  }
}
