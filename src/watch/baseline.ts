import type { Anomaly, Observation } from '../contract/anomaly.ts'
import { isAtLeast } from '../contract/anomaly.ts'
import { itemKinds, peakNames, type ItemKind, type PeakName, type Trail } from './trail.ts'

/**
 * What code did in its first runs, as a yardstick for the later ones. It is never a grant: nothing that decides what
 * code may do reads it, and all that can come of it is one more anomaly. So whoever poisons the first run gains no
 * right by it, and hides little: a run in which something was found teaches nothing, what only one of the first runs
 * did is still told of, and every detector that needs no past works as before.
 */
export interface Baseline {
  readonly format: 1
  /** Runs that taught it something. */
  readonly runs: number
  /** Runs that were not learned from, because something was found in them. */
  readonly setAside: number
  readonly frozen: boolean
  /** In how many runs each was seen. */
  readonly items: Readonly<Record<ItemKind, Readonly<Record<string, number>>>>
  readonly peaks: Readonly<Record<PeakName, Peak>>
  /** Items that there was no room for, so that nothing is forgotten unseen. */
  readonly lost: Readonly<Record<ItemKind, number>>
}

export interface Peak {
  readonly max: number
  /** Runs by the power of two that their peak reached: place n counts those from 2^n on. */
  readonly sketch: readonly number[]
}

/** Runs that are learned from; after them, what is new is an anomaly. */
export const runsToLearn = 5
/** Of each kind. */
export const itemsMax = 128
export const sketchPlaces = 54

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

/** A baseline judges once it has seen enough, or was frozen by somebody who had looked at it. */
export function judges({ frozen, runs }: Baseline): boolean {
  return runs > 0 && (frozen || runs >= runsToLearn)
}

/** The baseline after one more run; unchanged once it has learned, or where the run is none to learn from. */
export function learned(
  baseline: Baseline,
  trail: Trail,
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

/** How often an item was seen, `undefined` where the baseline may have lost it. */
export function timesSeen(baseline: Baseline, kind: ItemKind, item: string): number | undefined {
  const { items, lost } = baseline
  if (Object.hasOwn(items[kind], item)) return items[kind][item]
  return lost[kind] > 0 ? undefined : 0
}

export function freeze(baseline: Baseline): Baseline {
  return { ...baseline, frozen: true }
}

function withItems(
  { items, lost }: Baseline,
  trail: Trail,
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
  const place = Math.min(sketchPlaces - 1, value < 1 ? 0 : Math.floor(Math.log2(value)))
  const length = Math.max(sketch.length, place + 1)
  const counted = Array.from({ length }, (_, at) => (sketch[at] ?? 0) + (at === place ? 1 : 0))
  return { max: Math.max(max, value), sketch: counted }
}

function byKind<T>(of: () => T): Record<ItemKind, T> {
  return Object.fromEntries(itemKinds.map((kind) => [kind, of()])) as Record<ItemKind, T>
}

/** Whether an observation may teach: what a guest says of itself never does. */
export function teaches({ trust }: Pick<Observation, 'trust'>): boolean {
  return trust !== 'guest'
}
