import type { Clock } from '../contract/clock.ts'

/** Something kept, with what it takes and since when. */
export interface Keepable {
  readonly bytes: number
  /** On the Clock. */
  readonly at: number
}

export interface Bounds {
  /** Of everything kept together. */
  readonly bytes: number
  /** Milliseconds. */
  readonly age: number
}

/**
 * What is kept of each tenant, bounded in bytes and age. Where there is no more room, the tenant that holds most gives
 * up what it has not used for longest: whoever floods forgets his own.
 */
export class Kept<T extends Keepable> {
  readonly #tenants = new Map<string, Shelf<T>>()
  readonly #bounds: () => Bounds
  readonly #clock: Clock
  #bytes = 0
  #sweptAt: number

  constructor(bounds: () => Bounds, clock: Clock) {
    this.#bounds = bounds
    this.#clock = clock
    this.#sweptAt = clock.now()
  }

  get bytes(): number {
    return this.#bytes
  }

  /** What is too old is not given, and forgotten. */
  get(tenant: string, key: string): T | undefined {
    const shelf = this.#tenants.get(tenant)
    const found = shelf?.items.get(key)
    if (!shelf || !found) return undefined
    this.#remove(tenant, shelf, key)
    if (this.#isOld(found)) return undefined
    this.#add(tenant, key, found)
    return found
  }

  /** Whether it was kept; what is larger than all the room there is never is. */
  put(tenant: string, key: string, item: T): boolean {
    const { bytes } = this.#bounds()
    if (item.bytes > bytes) return false
    const shelf = this.#tenants.get(tenant)
    if (shelf?.items.has(key)) this.#remove(tenant, shelf, key)
    this.#sweep()
    this.#add(tenant, key, item)
    while (this.#bytes > bytes) this.#giveUp()
    return true
  }

  #add(tenant: string, key: string, item: T): void {
    const shelf = this.#tenants.get(tenant) ?? { items: new Map<string, T>(), bytes: 0 }
    this.#tenants.set(tenant, shelf)
    shelf.items.set(key, item)
    shelf.bytes += item.bytes
    this.#bytes += item.bytes
  }

  #remove(tenant: string, shelf: Shelf<T>, key: string): void {
    const { bytes } = shelf.items.get(key)!
    shelf.items.delete(key)
    shelf.bytes -= bytes
    this.#bytes -= bytes
    if (shelf.items.size === 0) this.#tenants.delete(tenant)
  }

  #giveUp(): void {
    const [tenant, shelf] = [...this.#tenants].reduce((a, b) => (b[1].bytes > a[1].bytes ? b : a))
    this.#remove(tenant, shelf, shelf.items.keys().next().value!)
  }

  /** What nobody asks for again does not stay: looked for once in an age. */
  #sweep(): void {
    const now = this.#clock.now()
    if (now - this.#sweptAt < this.#bounds().age) return
    this.#sweptAt = now
    for (const [tenant, shelf] of this.#tenants)
      for (const [key, item] of shelf.items) if (this.#isOld(item)) this.#remove(tenant, shelf, key)
  }

  #isOld({ at }: T): boolean {
    return this.#clock.now() - at >= this.#bounds().age
  }
}

interface Shelf<T> {
  /** The one unused for longest first. */
  readonly items: Map<string, T>
  bytes: number
}
