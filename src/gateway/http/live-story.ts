import type { Clock } from '../../contract/clock.ts'
import type { TimelineEntry } from '../../contract/event.ts'
import type { Profile } from '../../contract/profile.ts'
import { noPlan, planOf, type Life } from '../../web/page/picture/life.js'

/** Lines kept of a life under way; a timeline has no more, but for its last. */
const linesMax = 1001

/** The life of a job under way as far as it has come, for whoever wants its picture. */
export class LiveStory {
  readonly #clock: Clock
  readonly #timeline: TimelineEntry[] = []
  #told: Pick<Life, 'plan' | 'wall'> = { plan: noPlan, wall: '' }
  #began: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  readonly planned = (profile: Profile): void => {
    this.#told = { plan: planOf(profile), wall: `${profile.tier}, ${profile.provider}` }
  }

  readonly on = (entry: TimelineEntry): void => {
    this.#began ??= this.#clock.now() - entry.at
    if (this.#timeline.length < linesMax) this.#timeline.push(entry)
  }

  /** What it is to be, and behind which wall. */
  get told(): Pick<Life, 'plan' | 'wall'> {
    return this.#told
  }

  get life(): Life {
    const age = this.#began === undefined ? 0 : this.#clock.now() - this.#began
    return { ...this.#told, status: 'running', timeline: this.#timeline, age, network: [] }
  }
}
