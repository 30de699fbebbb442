import type { Anomaly, AnomalyName, AnomalySeverity } from '../contract/anomaly.ts'

/** What was told of a life so far: how often by each detector, and how bad. */
export type Behavior = ReadonlyMap<AnomalyName, Counts>
type Counts = Readonly<Record<AnomalySeverity, number>>

export const noBehavior: Behavior = new Map()

/**
 * A severity begins a band of the score and never leaves it, in the steps of the scores that sources have: what a guest
 * says of itself is `low` at the worst, so it can't say itself, or anybody else, past 39.
 */
export const bands: Readonly<
  Record<AnomalySeverity, { readonly from: number; readonly to: number }>
> = { low: { from: 10, to: 39 }, medium: { from: 40, to: 69 }, high: { from: 70, to: 100 } }

/** What another anomaly adds within the band of the worst. */
const adds: Counts = { low: 2, medium: 5, high: 10 }
const worstFirst: readonly AnomalySeverity[] = ['high', 'medium', 'low']
/** Of one detector each further anomaly adds half of what the one before it did, and one past these nothing. */
export const countedMax = 8
const none: Counts = { low: 0, medium: 0, high: 0 }

/** After one more anomaly. */
export function behaved(
  so: Behavior,
  { name, severity }: Pick<Anomaly, 'name' | 'severity'>,
): Behavior {
  const counts = so.get(name) ?? none
  return new Map([...so, [name, { ...counts, [severity]: counts[severity] + 1 }]])
}

/**
 * 0 for a life that nothing was told of, else up to 100: the worst anomaly says in which band, all the others how far up
 * in it. One more never lowers it, and their order makes no difference.
 */
export function behaviorScoreOf(behavior: Behavior): number {
  const all = [...behavior.values()]
  const worst = worstFirst.find((severity) => all.some((counts) => counts[severity] > 0))
  if (!worst) return 0
  // Halves of small whole numbers: their sum is exact, in whatever order they come.
  const others = all.reduce((sum, counts) => sum + added(counts), 0) - adds[worst]
  const { from, to } = bands[worst]
  return Math.min(to, from + Math.floor(others))
}

/** By one detector, its worst first. */
function added(counts: Counts): number {
  return worstFirst
    .flatMap((severity) =>
      Array.from({ length: Math.min(countedMax, counts[severity]) }, () => adds[severity]),
    )
    .slice(0, countedMax)
    .reduce((sum, points, place) => sum + points / 2 ** place, 0)
}
