import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import { holdJob } from '../../../agent-wire/agent-questions.ts'

/**
 * Freezes a job's processes inside its guest, around each pause of the whole guest.
 *
 * Problem: a guest that is resumed has a stale clock and generator, and its programs would run with both until the agent renewed
 * them. And a paused guest answers no request, so nothing can be inspected.
 *
 * Mechanism: the agent freezes the cgroup of the job (cgroup.freeze, guest/agent/group.c) before the guest is paused, and thaws
 * it after clock and generator are renewed. In between the guest's kernel and agent can run without the job.
 *
 * Not handled: a guest that took over its agent or kernel does not freeze. The pause by the host does not depend on it, and waits
 * for a bounded time only.
 */
export class JobFreezer {
  readonly #agent: Pick<AgentLink, 'ask'>
  #isFrozen = false
  /** Race: the guest may freeze after the deadline of the request. */
  #mayBeFrozen = false

  /** `isFrozen`: for a guest that was copied with its job frozen. */
  constructor(agent: Pick<AgentLink, 'ask'>, isFrozen = false) {
    this.#agent = agent
    this.#isFrozen = this.#mayBeFrozen = isFrozen
  }

  /** The guest reported that its job is frozen. */
  get isFrozen(): boolean {
    return this.#isFrozen
  }

  /** The job may be frozen, and has to be thawed. */
  get mayBeFrozen(): boolean {
    return this.#mayBeFrozen
  }

  /** Never rejects: the host pauses a guest that does not answer all the same. */
  async freeze(): Promise<void> {
    this.#mayBeFrozen = true
    this.#isFrozen = await holdJob(this.#agent, true, FREEZE_MS_MAX).then(
      () => true,
      () => false,
    )
  }

  /** Rejects with MayflyError PROTOCOL where the guest does not answer: its job may still be frozen. */
  async thaw(msMax: number): Promise<void> {
    if (!this.#mayBeFrozen) return
    this.#isFrozen = false
    await holdJob(this.#agent, false, msMax)
    this.#mayBeFrozen = false
  }
}

/** Longest time that a guest that does not answer keeps running. An emulated guest on a busy host takes tens of milliseconds. */
const FREEZE_MS_MAX = 500
