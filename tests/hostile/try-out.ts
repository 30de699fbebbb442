import type { JobRequest } from '../../src/contract/job.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import type { Lure, Trap } from './bait.ts'
import type { Case } from './case.ts'
import { type CaseRun, type Library, runCase, smallLimits } from './mayfly.ts'

/** Retries against a stall of the whole machine. */
export const triesMax = 3
/** An end by the wall's own limits, acceptable in another case. Never an escape: that is reported first. */
export const ranOut = /^(?:second )?ended (?:timeout|limit):/

export interface Stand {
  readonly library: Library
  readonly trap: Trap
}

export interface Tried {
  /** Reason why it was not contained; undefined if it was. */
  readonly why: string | undefined
  readonly ranMs: readonly number[]
}

/** Runs a case, and checks its outcome. Without `limits` it has the default limits of a job. */
export async function tryOut(
  { library, trap }: Stand,
  hostile: Case,
  limits: JobRequest['limits'],
): Promise<Tried> {
  const lure = trap.lure(hostile)
  const first = await runCase(library, hostile, lure, { limits })
  const escaped = hostile.second ? undefined : lure.evidence(first.text)
  const unexpected =
    escaped ??
    (hostile.expect.includes(first.end)
      ? undefined
      : `ended ${first.end}: ${first.text.slice(0, 200)}`)
  if (unexpected) return { why: unexpected, ranMs: ranOf(first) }
  if (!hostile.second) return { why: wrong(hostile, first.outcome), ranMs: ranOf(first) }
  const second = await runCase(library, hostile, lure, { second: hostile.second, limits })
  return { why: whyOfSecond(hostile.second, lure, first, second), ranMs: ranOf(first, second) }
}

function whyOfSecond(
  { expect, differs }: NonNullable<Case['second']>,
  lure: Lure,
  first: CaseRun,
  second: CaseRun,
): string | undefined {
  const leaked = lure.evidence(second.text)
  if (leaked) return leaked
  if (!expect.includes(second.end))
    return `second ended ${second.end}: ${second.text.slice(0, 200)}`
  return differs && first.text === second.text ? 'both runs answered the same' : undefined
}

function ranOf(...runs: readonly CaseRun[]): readonly number[] {
  return runs.flatMap(({ outcome }) => (outcome ? [outcome.metrics.executionTime] : []))
}

function wrong({ gives }: Case, outcome?: Outcome): string | undefined {
  if (gives === undefined || outcome?.status !== 'ok') return undefined
  const gave = JSON.stringify(outcome.result)
  return gave === JSON.stringify(gives) ? undefined : `it gave ${gave}`
}

/** True if a case ended by an unexpected limit is contained when it is retried alone. */
export async function isContainedAlone(stand: Stand, hostile: Case): Promise<boolean> {
  for (let tries = 1; tries < triesMax; tries++) {
    const { why } = await tryOut(stand, hostile, smallLimits)
    if (!why || !ranOut.test(why)) return !why
  }
  return false
}
