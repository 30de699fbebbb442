import { canonicalControls, controlsBeyond, meet } from '../contract/controls.ts'
import type { Control, Controls } from '../contract/controls.ts'
import type { Phase } from '../contract/phase.ts'

/**
 * Phases laid out in time before they are lived: which holds from when to when, and what each one closes. Time is
 * milliseconds since user code was released. Nothing here goes back: each step holds the meeting of all phases up to
 * it, so a phase that asks for more than the one before it gets no more, and a course only ever gets shorter.
 */
export interface Course {
  /** In order and without a gap: each opens where the one before it closed. */
  readonly steps: readonly Step[]
  /** When it is over. */
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
  readonly advanceIf?: string | undefined
  readonly terminateIf?: string | undefined
}

/** Where a course lies: from when, until when at the latest, and below what. */
export interface Bounds {
  readonly from: number
  readonly until: number
  readonly granted: Controls
}

export function layOut(phases: readonly Phase[], { from, until, granted }: Bounds): Course {
  const steps: Step[] = []
  let opens = Math.min(from, until)
  let before = canonicalControls(granted)
  for (const { name, for: length, controls: asked, advanceIf, terminateIf } of phases) {
    const controls = meet(before, asked)
    const closes = Math.min(opens + length, until)
    const tightens = controlsBeyond(before, controls)
    steps.push({ phase: name, opens, closes, controls, tightens, advanceIf, terminateIf })
    opens = closes
    before = controls
  }
  return { steps, ends: opens }
}

/** Which step holds at a time, by its place in the course; `steps.length` once it is over. */
export function stepAt(course: Course, at: number): number {
  const open = course.steps.findIndex((step) => at < step.closes)
  return open === -1 ? course.steps.length : open
}

/**
 * The same course when the step that holds at `at` is cut short there: what follows it moves up, and of its length
 * only the share `keep` (0 to 1) is left. What is past stays as it was; a course that is over stays over.
 */
export function cutShort(course: Course, at: number, keep: number): Course {
  const current = stepAt(course, at)
  const moved = (time: number) => Math.min(time, at + (time - course.steps[current]!.closes) * keep)
  const steps = course.steps.map((step, place) => {
    if (place < current) return step
    if (place === current) return { ...step, closes: at }
    return { ...step, opens: moved(step.opens), closes: moved(step.closes) }
  })
  return { steps, ends: steps.at(-1)!.closes }
}
