import * as z from 'zod'
import { wallAnswerMsMax } from './wall-answer.ts'

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

/** Tiers whose guest runs inside the process of its worker, and cannot fork. */
const singleProcess: ReadonlySet<string> = new Set<TierName>(['isolate', 'wasm'])

export function isSingleProcess(tier: string | undefined): boolean {
  return tier !== undefined && singleProcess.has(tier)
}

/** Tiers whose guest boots its own kernel, emulated if there is no KVM. */
const booted: ReadonlySet<string> = new Set<TierName>(['userkernel', 'microvm'])

/**
 * Milliseconds in which a wall has to release user code. Longer for tiers that boot a kernel: an emulator translates code on
 * its first execution, and the host may be busy with other boots.
 */
export function releaseMsMaxOf(tier: TierName): number {
  return booted.has(tier) ? 60_000 : 10_000
}

/**
 * Milliseconds in which a wall has to close what a phase closes, or to end a zone. Longer where a guest's kernel does it, which is
 * slow on a busy host: its engine ends the wall of a guest that leaves a question open for 10 s, or has run for 15 s since the end.
 */
export function orderMsMaxOf(tier: TierName): number {
  return booted.has(tier) ? 60_000 : wallAnswerMsMax
}

export type Strength = 0 | 1 | 2 | 3 | 4 | 5

export const tierNames = Object.keys(strengthOf) as readonly TierName[]
/** Tiers a user may name; `mock` is reached by its provider's name only. */
export const namedTiers = tierNames.filter((tier) => tier !== 'none' && tier !== 'mock')

export const tierName = z.enum(namedTiers as [TierName, ...TierName[]])
