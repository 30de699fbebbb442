import type { Cost } from '../contract/provider.ts'
import { type Strength, type TierName, tierNames } from '../contract/tier.ts'

/** What the order of walls reads of one. */
export interface Ranked {
  readonly name: string
  readonly tier: TierName
  readonly strength: Strength
  readonly available: boolean
  /** Measured here; left out, the tier's usual cost counts. */
  readonly cost?: Cost
  /** How many layers its probe proved, and how many this machine does not give. */
  readonly layers?: number
  readonly missing?: number
  /** Its place among Mayfly's own; left out for somebody else's. */
  readonly place?: number
}

/**
 * What a wall of each tier usually costs. A parked wall answers in about a millisecond whatever it is, so what differs
 * is the memory a spare holds and the processor time that making the next one burns.
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
 * Cheap tiers before dear ones. Within a tier the stronger wall first, then the one that misses less of what it could
 * be. Layers are counted only where nobody has said which comes first: those of two technologies are not of one size.
 * Then the cheaper, then by name, so that equal facts choose equally. What is not available does not make its tier
 * cheap.
 */
export function ranked<T extends Ranked>(walls: readonly T[]): T[] {
  const prices = pricesOf(walls)
  return [...walls].sort(
    (a, b) =>
      prices.get(a.tier)! - prices.get(b.tier)! ||
      tierNames.indexOf(a.tier) - tierNames.indexOf(b.tier) ||
      b.strength - a.strength ||
      missingOf(a) - missingOf(b) ||
      placeOf(a) - placeOf(b) ||
      layersOf(b) - layersOf(a) ||
      priceOf(a) - priceOf(b) ||
      (a.name < b.name ? -1 : 1),
  )
}

/** Why `first` comes before `other`, for people. */
export function whyBefore(first: Ranked, other: Ranked): string {
  const name = `"${first.name}"`
  if (first.tier !== other.tier)
    return `${name} is cheaper (${costText(first)} against ${costText(other)})`
  if (first.strength !== other.strength)
    return `${name} is stronger (${first.strength} against ${other.strength})`
  if (missingOf(first) !== missingOf(other))
    return `${name} misses less (${missingOf(first)} against ${missingOf(other)})`
  if (placeOf(first) !== placeOf(other)) return `${name} is the one of its tier to take first`
  if (layersOf(first) !== layersOf(other))
    return `${name} is the fuller wall (${layersOf(first)} layers against ${layersOf(other)})`
  return priceOf(first) < priceOf(other)
    ? `${name} is cheaper (${costText(first)} against ${costText(other)})`
    : `${name} is as good, and its name comes first`
}

/** What it costs to keep one ready, and where that is known from. */
export function costOf({ cost, tier }: Ranked): { readonly cost: Cost; readonly because: string } {
  return cost
    ? { cost, because: 'measured by its provider' }
    : { cost: usualCost[tier], because: `usual for tier "${tier}"` }
}

/** A tier costs what its cheapest available wall costs. */
function pricesOf(walls: readonly Ranked[]): ReadonlyMap<TierName, number> {
  const tiers = new Set(walls.map(({ tier }) => tier))
  return new Map(
    [...tiers].map((tier) => {
      const all = walls.filter((wall) => wall.tier === tier)
      const there = all.filter(({ available }) => available)
      return [tier, Math.min(...(there.length > 0 ? there : all).map(priceOf))]
    }),
  )
}

/** One number to compare by: a MiB held weighs as much as a millisecond of a core for each job. */
function priceOf(wall: Ranked): number {
  const { spareMiB, refillMs } = costOf(wall).cost
  return spareMiB + refillMs
}

const layersOf = ({ layers = 0 }: Ranked): number => layers
const missingOf = ({ missing = 0 }: Ranked): number => missing
const placeOf = ({ place = Number.MAX_SAFE_INTEGER }: Ranked): number => place

function costText(wall: Ranked): string {
  const { spareMiB, refillMs } = costOf(wall).cost
  return `${spareMiB} MiB a spare, ${refillMs} ms to refill`
}
