import type { Clock } from '../contract/clock.ts'

export interface LruItem {
  readonly bytes: number
  /** Clock time of storage. */
  readonly at: number
}

export interface LruBounds {
  /** Limit of all entries together. */
  readonly bytes: number
  /** Maximum age in milliseconds. */
  readonly age: number
}

/**
 * Per-tenant LRU store bounded in bytes and age. When full, the tenant holding most bytes loses its least recently
 * used entry, so a flooding tenant evicts its own.
 */
export class TenantLru<T extends LruItem> {
  readonly #tenants = new Map<string, TenantEntries<T>>()
  readonly #bounds: () => LruBounds
  readonly #clock: Clock
  #bytes = 0
  #sweptAt: number

  constructor(bounds: () => LruBounds, clock: Clock) {
    this.#bounds = bounds
    this.#clock = clock
    this.#sweptAt = clock.now()
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Expired entries are deleted and not returned. */
  get(tenant: string, key: string): T | undefined {
    const entries = this.#tenants.get(tenant)
    const found = entries?.items.get(key)
    if (!entries || !found) return undefined
    this.#remove(tenant, entries, key)
    if (this.#isOld(found)) return undefined
    this.#add(tenant, key, found)
    return found
  }

  /** False if the item exceeds the whole capacity. */
  put(tenant: string, key: string, item: T): boolean {
    const { bytes } = this.#bounds()
    if (item.bytes > bytes) return false
    const entries = this.#tenants.get(tenant)
    if (entries?.items.has(key)) this.#remove(tenant, entries, key)
    this.#sweep()
    this.#add(tenant, key, item)
    while (this.#bytes > bytes) this.#evictOne()
    return true
  }

  #add(tenant: string, key: string, item: T): void {
    const entries = this.#tenants.getOrInsertComputed(tenant, () => ({
      items: new Map(),
      bytes: 0,
    }))
    entries.items.set(key, item)
    entries.bytes += item.bytes
    this.#bytes += item.bytes
  }

  #remove(tenant: string, entries: TenantEntries<T>, key: string): void {
    const { bytes } = entries.items.get(key)!
    entries.items.delete(key)
    entries.bytes -= bytes
    this.#bytes -= bytes
    if (entries.items.size === 0) this.#tenants.delete(tenant)
  }

  #evictOne(): void {
    const [tenant, entries] = [...this.#tenants].reduce((a, b) => (b[1].bytes > a[1].bytes ? b : a))
    this.#remove(tenant, entries, entries.items.keys().next().value!)
  }

  /** Deletes expired entries, at most once per maximum age. */
  #sweep(): void {
    const now = this.#clock.now()
    if (now - this.#sweptAt < this.#bounds().age) return
    this.#sweptAt = now
    for (const [tenant, entries] of this.#tenants)
      for (const [key, item] of entries.items)
        if (this.#isOld(item)) this.#remove(tenant, entries, key)
  }

  #isOld({ at }: T): boolean {
    return this.#clock.now() - at >= this.#bounds().age
  }
}

interface TenantEntries<T> {
  /** Least recently used first. */
  readonly items: Map<string, T>
  bytes: number
}
