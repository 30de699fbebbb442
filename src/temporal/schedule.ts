import { canonicalControls, controlsBeyond, meet } from '../contract/controls.ts'
import type { Control, Controls } from '../contract/controls.ts'
import type { Schedule } from '../contract/phase.ts'

/**
 * A life laid out before it is lived: which phase holds from when to when, what each one closes, and when it is
 * over. Time is milliseconds since user code was released.
 *
 * Two promises hold whatever the schedule and whatever happens in between. What is closed never reopens: each step
 * holds the meeting of all phases up to it, so a phase that asks for more than the one before it gets no more. And
 * a life only ever gets shorter: `advance` brings what is to come nearer and puts nothing off. There is no function
 * here, or anywhere, that goes back.
 */
export interface Life {
  /** In order and without a gap: each opens where the one before it closed, the first at 0. */
  readonly steps: readonly Step[]
  /** When the sandbox is terminated. */
  readonly ends: number
}

/** One phase as it will be lived. */
export interface Step {
  readonly phase: string
  readonly opens: number
  readonly closes: number
  /** All it may still do. */
  readonly controls: Controls
  /** The controls in which it is stricter than what was before it. */
  readonly tightens: readonly Control[]
}

/** Lays out a schedule below `granted`, what the sandbox was made with. It is over after `msMax` at the latest. */
export function layOut(schedule: Schedule, granted: Controls, msMax: number): Life {
  const steps: Step[] = []
  let opens = 0
  let before = canonicalControls(granted)
  for (const { name, for: length, controls: asked } of schedule.phases) {
    const controls = meet(before, asked)
    const closes = Math.min(opens + length, msMax)
    steps.push({ phase: name, opens, closes, controls, tightens: controlsBeyond(before, controls) })
    opens = closes
    before = controls
  }
  return { steps, ends: opens }
}

/** Which step holds at a time, by its place in the life; `steps.length` once it is over. */
export function stepAt(life: Life, at: number): number {
  const open = life.steps.findIndex((step) => at < step.closes)
  return open === -1 ? life.steps.length : open
}

/**
 * The same life when the step that holds at `at` is cut short there: what follows it moves up, and of its length
 * only the share `keep` (0 to 1) is left. What is past stays as it was; a life that is over stays over.
 */
export function advance(life: Life, at: number, keep: number): Life {
  const current = stepAt(life, at)
  const moved = (time: number) => at + (time - life.steps[current]!.closes) * keep
  const steps = life.steps.map((step, place) => {
    if (place < current) return step
    if (place === current) return { ...step, closes: at }
    return { ...step, opens: moved(step.opens), closes: moved(step.closes) }
  })
  return { steps, ends: steps.at(-1)!.closes }
}
