/**
 * A generic LRU cache backed by a Map (insertion order = recency order).
 */
interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
}

export class LRUCache<K, V> {
  private readonly store = new Map<K, V>();
  private hits = 0;
  private misses = 0;
  private evictions = 0;

  constructor(
    private readonly capacity: number,
    private readonly onEvict?: (key: K, value: V) => void,
  ) {
    if (!Number.isInteger(capacity) || capacity <= 0) {
      throw new RangeError(`capacity must be a positive integer, got ${capacity}`);
    }
  }

  get size(): number {
    return this.store.size;
  }

  get(key: K): V | undefined {
    if (!this.store.has(key)) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    const value = this.store.get(key)!;
    this.store.delete(key);
    this.store.set(key, value);
    return value;
  }

  set(key: K, value: V): this {
    this.store.delete(key);
    this.store.set(key, value);
    if (this.store.size > this.capacity) {
      const oldest = this.store.keys().next().value as K;
      const old = this.store.get(oldest) as V;
      this.store.delete(oldest);
      this.evictions++;
      this.onEvict?.(oldest, old);
    }
    return this;
  }

  has(key: K): boolean {
    return this.store.has(key);
  }

  stats(): CacheStats {
    return { hits: this.hits, misses: this.misses, evictions: this.evictions };
  }

  *[Symbol.iterator](): IterableIterator<[K, V]> {
    yield* this.store.entries();
  }
}

// ---- demo ----
const cache = new LRUCache<string, number>(3, (k, v) => console.log(`  evicted ${k}=${v}`));

cache.set("a", 1).set("b", 2).set("c", 3);
console.log("get a ->", cache.get("a"));
cache.set("d", 4); // evicts b
console.log("get b ->", cache.get("b"));
cache.set("c", 33);
cache.set("e", 5); // evicts a

console.log("contents:", [...cache]);
console.log("stats:", cache.stats());

function memoize<A extends string | number, R>(fn: (arg: A) => R, size = 100): (arg: A) => R {
  const c = new LRUCache<A, R>(size);
  return (arg) => {
    const known = c.get(arg);
    if (known !== undefined) return known;
    const r = fn(arg);
    c.set(arg, r);
    return r;
  };
}

let calls = 0;
const slowSquare = memoize((n: number) => {
  calls++;
  return n * n;
});
console.log([4, 5, 4, 4, 5].map(slowSquare).join(", "), `(${calls} real calls)`);

try {
  new LRUCache(0);
} catch (e) {
  if (e instanceof RangeError) console.log("RangeError:", e.message);
}
