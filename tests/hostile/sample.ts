/** Seeded sampling, for reproducible failures: the seed is printed and can be set. */

const { MAYFLY_SEED, MAYFLY_LONG } = process.env

export const seed = Number(MAYFLY_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** Fixed seed for tests that count cases: a random sample may hold too few. */
export const seedOfCounts = MAYFLY_SEED === undefined && MAYFLY_LONG === undefined ? 1 : seed

/** `count` items in a seeded random order; all of them if there are fewer. */
export function sample<T>(items: readonly T[], count: number, from = seed): readonly T[] {
  const next = mulberry32(from)
  return items
    .map((item) => ({ item, at: next() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, count)
    .map(({ item }) => item)
}

/** Runs `work` over all items, at most `width` at a time. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  const lane = async (): Promise<void> => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: width }, lane))
}

function mulberry32(state: number): () => number {
  let at = state
  return () => {
    at = (at + 0x6d2b79f5) | 0
    let mixed = Math.imul(at ^ (at >>> 15), at | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
