import type { Anomaly, AnomalyName, AnomalySeverity } from '../contract/anomaly.ts'

/** Anomaly counts of a life by detector and severity. */
export type AnomalyCounts = ReadonlyMap<AnomalyName, Counts>
type Counts = Readonly<Record<AnomalySeverity, number>>

export const noAnomalies: AnomalyCounts = new Map()

/** Score range of each severity. Claims of the guest itself are at most `low`, so they cannot raise a score above 39. */
export const bands: Readonly<
  Record<AnomalySeverity, { readonly from: number; readonly to: number }>
> = { low: { from: 10, to: 39 }, medium: { from: 40, to: 69 }, high: { from: 70, to: 100 } }

/** Points of each further anomaly, within the range of the worst. */
const points: Counts = { low: 2, medium: 5, high: 10 }
const worstFirst: readonly AnomalySeverity[] = ['high', 'medium', 'low']
/** Anomalies counted per detector; each adds half of the one before. */
export const countedMax = 8
const none: Counts = { low: 0, medium: 0, high: 0 }

/** Adds one anomaly. */
export function withAnomaly(
  so: AnomalyCounts,
  { name, severity }: Pick<Anomaly, 'name' | 'severity'>,
): AnomalyCounts {
  const counts = so.get(name) ?? none
  return new Map([...so, [name, { ...counts, [severity]: counts[severity] + 1 }]])
}

/**
 * 0 without anomalies, otherwise up to 100: the worst severity selects the range, the others the position in it.
 * Monotonic, and independent of order.
 */
export function behaviorScoreOf(behavior: AnomalyCounts): number {
  const all = [...behavior.values()]
  const worst = worstFirst.find((severity) => all.some((counts) => counts[severity] > 0))
  if (!worst) return 0
  // Sums of halves of small integers are exact in floating point, in any order.
  const others = all.reduce((sum, counts) => sum + added(counts), 0) - points[worst]
  const { from, to } = bands[worst]
  return Math.min(to, from + Math.floor(others))
}

/** Points of one detector, worst first. */
function added(counts: Counts): number {
  return worstFirst
    .flatMap((severity) =>
      Array.from({ length: Math.min(countedMax, counts[severity]) }, () => points[severity]),
    )
    .slice(0, countedMax)
    .reduce((sum, points, place) => sum + points / 2 ** place, 0)
}
