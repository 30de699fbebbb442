import type { Controls } from './controls.ts'
import type { Phase } from './phase.ts'
import type { Profile } from './profile.ts'

/** A session that is forked, as its children are bounded by it. */
export interface ForkParent {
  readonly id: string
  readonly profile: Profile
  /** Controls in force. */
  readonly controls: Controls
  /** Phases that its life has left, the current one first. */
  readonly phases: readonly Phase[]
}
