import * as z from 'zod'
import type { Anomaly, Observation } from '../contract/anomaly.ts'
import { isAtLeast } from '../contract/anomaly.ts'
import type { DeepReadonly } from '../contract/config.ts'
import { itemKinds, peakNames, type ItemKind, type PeakName, type RunTrail } from './trail.ts'

/**
 * Observed behaviour of the first runs of a code, as reference for later ones.
 *
 * A baseline grants nothing: no permission check reads it, and its only effect is additional anomalies. Poisoning
 * a run therefore gains no rights and hides nothing: runs with anomalies are not learned from, behaviour of one run
 * alone is reported as if none had had it, and detectors without a baseline work as before.
 */
export type Baseline = DeepReadonly<z.infer<typeof baselineSchema>>
export type Peak = Baseline['peaks'][PeakName]

const count = z.number().min(0)
const peak = z.object({
  max: count,
  /** Histogram by powers of two: bin n counts runs with a peak from 2^n to below 2^(n+1), bin 0 smaller ones too. */
  sketch: z.array(count),
})
export const baselineSchema = z.object({
  format: z.literal(1),
  runs: count,
  /** Runs not learned from, because they had anomalies. */
  setAside: count,
  frozen: z.boolean(),
  /** Number of runs in which each item was seen. */
  items: z.record(z.enum(itemKinds), z.record(z.string(), count)),
  peaks: z.record(z.enum(peakNames), peak),
  /** Items dropped at the limit, by kind. */
  lost: z.record(z.enum(itemKinds), count),
})

/** Runs to learn from; later, new behaviour is an anomaly. */
export const runsToLearn = 5
/** Limit per kind. */
export const itemsMax = 128
export const sketchSlots = 54

export const noBaseline: Baseline = {
  format: 1,
  runs: 0,
  setAside: 0,
  frozen: false,
  items: byKind(() => ({})),
  peaks: Object.fromEntries(
    peakNames.map((name) => [name, { max: 0, sketch: [] }]),
  ) as unknown as Record<PeakName, Peak>,
  lost: byKind(() => 0),
}

export function isLearning({ frozen, runs }: Baseline): boolean {
  return !frozen && runs < runsToLearn
}

/** True once enough runs are learned, or after an operator froze it. */
export function isReady({ frozen, runs }: Baseline): boolean {
  return runs > 0 && (frozen || runs >= runsToLearn)
}

/** Adds a run; unchanged if learning is over. */
export function withRun(
  baseline: Baseline,
  trail: RunTrail,
  anomalies: readonly Anomaly[] = [],
): Baseline {
  if (!isLearning(baseline)) return baseline
  if (anomalies.some(({ severity }) => isAtLeast(severity, 'medium')))
    return { ...baseline, setAside: baseline.setAside + 1 }
  const merged = itemKinds.map((kind) => [kind, withItems(baseline, trail, kind)] as const)
  return {
    ...baseline,
    runs: baseline.runs + 1,
    items: Object.fromEntries(merged.map(([kind, { items }]) => [kind, items])) as never,
    lost: Object.fromEntries(merged.map(([kind, { lost }]) => [kind, lost])) as never,
    peaks: Object.fromEntries(
      peakNames.map((name) => [name, withPeak(baseline.peaks[name], trail.peaks[name])]),
    ) as unknown as Baseline['peaks'],
  }
}

/** Number of runs with an item; `undefined` if it may have been dropped. */
export function timesSeen(baseline: Baseline, kind: ItemKind, item: string): number | undefined {
  const { items, lost } = baseline
  if (Object.hasOwn(items[kind], item)) return items[kind][item]
  return lost[kind] > 0 ? undefined : 0
}

/** How far runs have had an item. What one of several runs had alone counts as new: it may have been a poisoned one. */
export type Familiarity = 'new' | 'rare' | 'usual'

export function familiarityOf(times: number, { runs }: Pick<Baseline, 'runs'>): Familiarity {
  if (times * 2 > runs) return 'usual'
  return times < 2 ? 'new' : 'rare'
}

/** Peak that two runs reached, rounded up to a power of two; that of the only run. */
export function usualPeak({ max, sketch }: Peak): number {
  let runs = 0
  for (const [at, count] of [...sketch.entries()].toReversed())
    if ((runs += count) >= 2) return Math.min(max, 2 ** (at + 1))
  return max
}

export function freezeBaseline(baseline: Baseline): Baseline {
  return { ...baseline, frozen: true }
}

function withItems(
  { items, lost }: Baseline,
  trail: RunTrail,
  kind: ItemKind,
): { readonly items: Readonly<Record<string, number>>; readonly lost: number } {
  const kept = new Map(Object.entries(items[kind]))
  let missed = lost[kind] + trail.lost[kind]
  for (const item of trail.items[kind]) {
    const times = kept.get(item)
    if (times === undefined && kept.size >= itemsMax) missed += 1
    else kept.set(item, (times ?? 0) + 1)
  }
  return { items: Object.fromEntries([...kept].sort(([a], [b]) => (a < b ? -1 : 1))), lost: missed }
}

function withPeak({ max, sketch }: Peak, value: number): Peak {
  const place = Math.min(sketchSlots - 1, value < 1 ? 0 : Math.floor(Math.log2(value)))
  const length = Math.max(sketch.length, place + 1)
  const counted = Array.from({ length }, (_, at) => (sketch[at] ?? 0) + (at === place ? 1 : 0))
  return { max: Math.max(max, value), sketch: counted }
}

function byKind<T>(of: () => T): Record<ItemKind, T> {
  return Object.fromEntries(itemKinds.map((kind) => [kind, of()])) as Record<ItemKind, T>
}

/** True unless the guest itself reported it: such claims are never learned. */
export function mayTeach({ trust }: Pick<Observation, 'trust'>): boolean {
  return trust !== 'guest'
}
