import * as z from 'zod'

/** Strength against escape, by kind of wall. A floor compares these numbers and nothing else. */
export const strengthOf = {
  none: 0,
  mock: 0,
  isolate: 1,
  wasm: 2,
  process: 3,
  container: 3,
  gvisor: 4,
  userkernel: 4,
  microvm: 5,
} as const satisfies Record<string, number>

export type TierName = keyof typeof strengthOf

/** Tiers whose guest is in the one process of its worker, and can start none. */
const singleProcess: ReadonlySet<string> = new Set<TierName>(['isolate', 'wasm'])

export function isSingleProcess(tier: string | undefined): boolean {
  return tier !== undefined && singleProcess.has(tier)
}

/** Tiers whose guest boots a kernel of its own, under emulation where there is no KVM. */
const booted: ReadonlySet<string> = new Set<TierName>(['userkernel', 'microvm'])

/**
 * Milliseconds for a wall to release user code. Code that a machine runs for the first time is translated then, and its
 * host may be busy with the boots of others.
 */
export function releaseMsMaxOf(tier: TierName): number {
  return booted.has(tier) ? 60_000 : 10_000
}

export type Strength = 0 | 1 | 2 | 3 | 4 | 5

export const tierNames = Object.keys(strengthOf) as readonly TierName[]
/** Tiers a user may name; `mock` is reached by its provider's name only. */
export const namedTiers = tierNames.filter((tier) => tier !== 'none' && tier !== 'mock')

export const tierName = z.enum(namedTiers as [TierName, ...TierName[]])
