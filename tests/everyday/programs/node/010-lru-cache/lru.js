class LRUCache {
  #capacity;
  #map = new Map();
  #stats = { hits: 0, misses: 0, evictions: 0 };

  constructor(capacity) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new RangeError('capacity must be a positive integer');
    }
    this.#capacity = capacity;
  }

  get(key) {
    if (!this.#map.has(key)) {
      this.#stats.misses++;
      return undefined;
    }
    this.#stats.hits++;
    const value = this.#map.get(key);
    this.#touch(key, value);
    return value;
  }

  set(key, value) {
    this.#touch(key, value);
    if (this.#map.size > this.#capacity) {
      const oldest = this.#map.keys().next().value;
      this.#map.delete(oldest);
      this.#stats.evictions++;
    }
    return this;
  }

  #touch(key, value) {
    this.#map.delete(key);
    this.#map.set(key, value);
  }

  get size() { return this.#map.size; }
  get stats() { return { ...this.#stats }; }
  static from(entries, capacity = 10) {
    const c = new LRUCache(capacity);
    for (const [k, v] of entries) c.set(k, v);
    return c;
  }
  *[Symbol.iterator]() { yield* this.#map; }
}

const cache = LRUCache.from([['a', 1], ['b', 2], ['c', 3]], 3);
cache.get('a');
cache.set('d', 4);
console.log('b is gone:', cache.get('b') === undefined);
console.log('order:', [...cache].map(([k]) => k).join(' '));
console.log(cache.stats, 'size', cache.size);

// memoize an expensive function
function memoize(fn, size) {
  const memo = new LRUCache(size);
  let calls = 0;
  const wrapped = (n) => {
    let v = memo.get(n);
    if (v === undefined) { calls++; v = fn(n); memo.set(n, v); }
    return v;
  };
  wrapped.calls = () => calls;
  return wrapped;
}
const collatz = memoize(n => { let s = 0; while (n !== 1) { n = n % 2 ? 3 * n + 1 : n / 2; s++; } return s; }, 2);
console.log([27, 97, 27, 97, 871, 27].map(collatz), 'computed', collatz.calls());

try {
  new LRUCache(0);
} catch (e) {
  console.log(`${e.name}: ${e.message}`);
}
console.log(cache);
