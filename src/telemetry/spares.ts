import type { Reading } from './instrument.ts'
import { gauge } from './meters.ts'

/** Spares of one pool key. */
export interface SparesFacts {
  readonly key: string
  readonly idle: number
  readonly hits: number
  readonly misses: number
  readonly bytes: number
}

/** Idle spares, their memory, and hit rate of claims. */
export function sparesReadings(facts: readonly SparesFacts[]): readonly Reading[] {
  const each = (value: (one: SparesFacts) => number) =>
    facts.map((one) => [{ pool: one.key }, value(one)] as const)
  return [
    gauge(
      'mayfly.pool.spares',
      'Idle spares',
      '{wall}',
      each(({ idle }) => idle),
    ),
    gauge(
      'mayfly.pool.memory',
      'Memory of idle spares',
      'By',
      each(({ bytes }) => bytes),
    ),
    {
      name: 'mayfly.pool.claims',
      description: 'Claims of a wall, by hit or miss of a spare',
      unit: '{claim}',
      kind: 'counter',
      series: facts.flatMap(({ key: pool, hits, misses }) => [
        { labels: { pool, outcome: 'hit' }, value: hits },
        { labels: { pool, outcome: 'miss' }, value: misses },
      ]),
    },
  ]
}
