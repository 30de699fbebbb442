import type { Clock } from '../../contract/clock.ts'
import type { TimelineEntry } from '../../contract/event.ts'
import type { Profile } from '../../contract/profile.ts'
import { noPlan, planOf, type Life } from '../../picture/life.js'

/** Entries stored of a running life; a final timeline has at most one more. */
const linesMax = 1001

/** Timeline of a running job so far, for drawing it. */
export class LiveTimeline {
  readonly #clock: Clock
  readonly #timeline: TimelineEntry[] = []
  #planned: Pick<Life, 'plan' | 'wall'> = { plan: noPlan, wall: '' }
  #began: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  readonly onPlan = (profile: Profile): void => {
    this.#planned = { plan: planOf(profile), wall: `${profile.tier}, ${profile.provider}` }
  }

  readonly on = (entry: TimelineEntry): void => {
    this.#began ??= this.#clock.now() - entry.at
    if (this.#timeline.length < linesMax) this.#timeline.push(entry)
  }

  /** Planned schedule and the wall it runs behind. */
  get planned(): Pick<Life, 'plan' | 'wall'> {
    return this.#planned
  }

  get life(): Life {
    const age = this.#began === undefined ? 0 : this.#clock.now() - this.#began
    return { ...this.#planned, status: 'running', timeline: this.#timeline, age, network: [] }
  }
}
