import assert from 'node:assert/strict'
import { assertNarrowed, canonicalControls, controlsBeyond, meet } from '../contract/controls.ts'
import type { Control, Controls } from '../contract/controls.ts'
import type { Phase } from '../contract/phase.ts'

/**
 * Phases laid out on the time axis, in milliseconds since the release of user code. Each step holds the meet of all
 * phases up to it, so controls never get looser, and a plan can only become shorter.
 */
export interface PhasePlan {
  /** Contiguous: each step opens where the previous one closes. */
  readonly steps: readonly PhaseStep[]
  readonly ends: number
}

export interface PhaseStep {
  readonly phase: string
  readonly opens: number
  readonly closes: number
  /** Controls in force during this step. */
  readonly controls: Controls
  /** Controls in which it is stricter than the step before. */
  readonly tightens: readonly Control[]
  readonly advanceIf?: string | undefined
  readonly terminateIf?: string | undefined
}

/** Start, latest end and upper limit of controls of a plan. */
export interface PlanBounds {
  readonly from: number
  readonly until: number
  readonly granted: Controls
}

export function planPhases(
  phases: readonly Phase[],
  { from, until, granted }: PlanBounds,
): PhasePlan {
  const steps: PhaseStep[] = []
  let opens = Math.min(from, until)
  let before = canonicalControls(granted)
  for (const { name, for: length, controls: asked, advanceIf, terminateIf } of phases) {
    const controls = meet(before, asked)
    const closes = Math.min(opens + length, until)
    assert(closes >= opens, `phase "${name}" closes before it opens`)
    assertNarrowed(before, controls)
    const tightens = controlsBeyond(before, controls)
    steps.push({ phase: name, opens, closes, controls, tightens, advanceIf, terminateIf })
    opens = closes
    before = controls
  }
  return { steps, ends: opens }
}

/** Index of the step at a time; `steps.length` after the end. */
export function stepAt(plan: PhasePlan, at: number): number {
  const open = plan.steps.findIndex((step) => at < step.closes)
  return open === -1 ? plan.steps.length : open
}

/**
 * Ends the current step at `at`: later steps move up, and `keep` (0 to 1) is the share of their length that remains.
 * Past steps are unchanged, and a finished plan stays finished.
 */
export function endStepEarly(plan: PhasePlan, at: number, keep: number): PhasePlan {
  const current = stepAt(plan, at)
  const moved = (time: number) => Math.min(time, at + (time - plan.steps[current]!.closes) * keep)
  const steps = plan.steps.map((step, place) => {
    if (place < current) return step
    if (place === current) return { ...step, closes: at }
    return { ...step, opens: moved(step.opens), closes: moved(step.closes) }
  })
  const ends = steps.at(-1)!.closes
  assert(ends <= plan.ends, `a phase that ended early moved the end from ${plan.ends} to ${ends}`)
  return { steps, ends }
}
