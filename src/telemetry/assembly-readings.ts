import type { Clock } from '../contract/clock.ts'
import type { WardenFacts } from '../contract/warden.ts'
import { within } from '../lib/within.ts'
import type { Reading } from './instrument.ts'
import { gauge, type Observer } from './meters.ts'
import { sparesReadings, type SparesFacts } from './spares.ts'

export interface ObservedAssembly {
  readonly pool: { readonly running: number; readonly waiting: number }
  readonly stock: { readonly facts: readonly SparesFacts[] }
  readonly warden: { facts(): Promise<WardenFacts> }
  readonly clock: Pick<Clock, 'now'>
}

/** Refresh interval, and time limit of a refresh. Proportional memory is expensive: the kernel walks the pages of each wall. */
const factsEveryMs = 10_000
const factsWaitMs = 1_000

/** Current values: pool slots, and live walls with their proportional memory. */
export function assemblyReadings({ pool, stock, warden, clock }: ObservedAssembly): Observer {
  let facts: WardenFacts | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let pending: Promise<void> = Promise.resolve()

  function refresh(): Promise<void> {
    if (clock.now() - askedAt < factsEveryMs) return pending
    askedAt = clock.now()
    pending = warden.facts().then(
      (fresh) => void (facts = fresh),
      () => void (facts = undefined),
    )
    return pending
  }

  return async () => {
    await within(refresh(), factsWaitMs, undefined)
    return [
      gauge('mayfly.pool.running', 'Jobs with a pool slot', '{execution}', pool.running),
      gauge('mayfly.pool.waiting', 'Jobs in the admission queue', '{execution}', pool.waiting),
      ...sparesReadings(stock.facts),
      ...(facts ? wallReadings(facts) : []),
    ]
  }
}

function wallReadings({ walls, proportionalBytes }: WardenFacts): readonly Reading[] {
  const programs = [...new Set(walls.map(({ program }) => program))].sort()
  const of = (program: string) => walls.filter((wall) => wall.program === program)
  const bytes = (program: string): number =>
    of(program).reduce((sum, wall) => sum + wall.proportionalBytes, 0)
  return [
    gauge(
      'mayfly.walls',
      'Walls that are alive',
      '{wall}',
      programs.map((program) => [{ program }, of(program).length]),
    ),
    gauge(
      'mayfly.walls.memory',
      'Proportional set size of the walls',
      'By',
      programs.map((program) => [{ program }, bytes(program)]),
    ),
    gauge('mayfly.warden.memory', 'Proportional set size of the warden', 'By', proportionalBytes),
  ]
}
