// memory: 256MB
/** Fills a cache to half of its memory, and lets go of the oldest. */
export default async () => {
  const cache = new Map()
  for (let n = 0; n < 90; n++) {
    cache.set(n, Buffer.alloc(2 * 2 ** 20, n))
    if (cache.size > 50) cache.delete(n - 50)
    await new Promise((done) => setTimeout(done, 20))
  }
  return cache.size
}
