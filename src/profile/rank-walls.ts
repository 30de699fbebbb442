import type { Cost } from '../contract/provider.ts'
import { type Strength, type TierName, tierNames } from '../contract/tier.ts'

/** Facts that determine the order of walls. */
export interface RankFacts {
  readonly name: string
  readonly tier: TierName
  readonly strength: Strength
  readonly available: boolean
  /** Measured cost; by default the usual cost of the tier. */
  readonly cost?: Cost
  /** Number of layers proven by the probe, and missing on this machine. */
  readonly layers?: number
  readonly missing?: number
  /** Position among Mayfly's own providers; undefined for others. */
  readonly position?: number
}

/**
 * Usual cost per tier. A parked wall of any tier answers in about a millisecond, so cost is the memory of a spare and
 * the CPU time of its refill.
 */
export const usualCost: Readonly<Record<TierName, Cost>> = {
  none: { spareMiB: 0, refillMs: 0 },
  mock: { spareMiB: 0, refillMs: 0 },
  wasm: { spareMiB: 0.5, refillMs: 0.5 },
  isolate: { spareMiB: 1.2, refillMs: 1 },
  process: { spareMiB: 8, refillMs: 16 },
  container: { spareMiB: 16, refillMs: 60 },
  gvisor: { spareMiB: 36, refillMs: 100 },
  microvm: { spareMiB: 55, refillMs: 150 },
  userkernel: { spareMiB: 82, refillMs: 1300 },
}

/**
 * Orders walls by tier cost, then within a tier by strength, missing layers, configured position, proven layers, cost
 * and name; so equal facts give an equal choice. Layers of different technologies are not comparable and count only
 * without a configured position. Unavailable walls do not make their tier cheaper.
 */
export function rankWalls<T extends RankFacts>(walls: readonly T[]): T[] {
  const prices = pricesOf(walls)
  return [...walls].sort(
    (a, b) =>
      prices.get(a.tier)! - prices.get(b.tier)! ||
      tierNames.indexOf(a.tier) - tierNames.indexOf(b.tier) ||
      b.strength - a.strength ||
      missingOf(a) - missingOf(b) ||
      positionOf(a) - positionOf(b) ||
      layersOf(b) - layersOf(a) ||
      priceOf(a) - priceOf(b) ||
      (a.name < b.name ? -1 : 1),
  )
}

/** Reason for the order, for people. */
export function whyBefore(first: RankFacts, other: RankFacts): string {
  const name = `"${first.name}"`
  if (first.tier !== other.tier)
    return `${name} is cheaper (${costText(first)} against ${costText(other)})`
  if (first.strength !== other.strength)
    return `${name} is stronger (${first.strength} against ${other.strength})`
  if (missingOf(first) !== missingOf(other))
    return `${name} lacks fewer layers (${missingOf(first)} against ${missingOf(other)})`
  if (positionOf(first) !== positionOf(other)) return `${name} comes first in the order of its tier`
  if (layersOf(first) !== layersOf(other))
    return `${name} has more layers (${layersOf(first)} against ${layersOf(other)})`
  return priceOf(first) < priceOf(other)
    ? `${name} is cheaper (${costText(first)} against ${costText(other)})`
    : `${name} is equal, and first by name`
}

/** Cost of one spare, and its source. */
export function costOf({ cost, tier }: RankFacts): {
  readonly cost: Cost
  readonly because: string
} {
  return cost
    ? { cost, because: 'measured by its provider' }
    : { cost: usualCost[tier], because: `usual for tier "${tier}"` }
}

/** A tier costs as much as its cheapest available wall. */
function pricesOf(walls: readonly RankFacts[]): ReadonlyMap<TierName, number> {
  const tiers = new Set(walls.map(({ tier }) => tier))
  return new Map(
    [...tiers].map((tier) => {
      const all = walls.filter((wall) => wall.tier === tier)
      const there = all.filter(({ available }) => available)
      return [tier, Math.min(...(there.length > 0 ? there : all).map(priceOf))]
    }),
  )
}

/** Single number for comparison: 1 MiB held weighs as much as 1 ms of CPU per job. */
function priceOf(wall: RankFacts): number {
  const { spareMiB, refillMs } = costOf(wall).cost
  return spareMiB + refillMs
}

const layersOf = ({ layers = 0 }: RankFacts): number => layers
const missingOf = ({ missing = 0 }: RankFacts): number => missing
const positionOf = ({ position = Number.MAX_SAFE_INTEGER }: RankFacts): number => position

function costText(wall: RankFacts): string {
  const { spareMiB, refillMs } = costOf(wall).cost
  return `${spareMiB} MiB a spare, ${refillMs} ms to refill`
}
