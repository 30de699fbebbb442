import type { CallClass } from '../../../contract/calls.ts'
import type { CallControl } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { CallPhase, ClosedCallsState } from '../../../contract/warden.ts'
import type { AgentLink } from './agent-link.ts'
import { askPhase } from './agent-questions.ts'

/**
 * Classes of calls that the kernel of a guest closes, by its agent.
 *
 * `write`: every mount of the guest becomes read-only, in one step. Programs that hold a file open for writing, or mapped so, are killed
 * first: the kernel refuses the step while there is one. Nothing that the host sees shows it, since files that a guest writes are
 * its own memory: it is the word of the guest, and is told as that. Root in the guest, or a hole in its kernel, undoes it.
 *
 * Throws MayflyError UNAVAILABLE where the guest could not close it; the warden then ends the wall.
 */
export const guestClosableCalls: readonly CallClass[] = ['write']

/** The agent waits for writers and kills holders in a third of a second of its own time; an emulator takes more. */
const CLOSE_MS_MAX = 10_000

export class AgentCalls implements CallControl {
  readonly #agent: AgentLink
  #isWritingClosed = false

  constructor(agent: AgentLink) {
    this.#agent = agent
  }

  async close(phases: readonly CallPhase[]): Promise<ClosedCallsState> {
    if (phases.some(({ afterMs, kills }) => afterMs > 0 || kills))
      throw new MayflyError('UNAVAILABLE', 'Cannot plan phases of calls in a guest')
    const isKept = phases.every(({ allow }) => allow.includes('write'))
    const killed = isKept || this.#isWritingClosed ? 0 : await this.#closeWriting()
    const allowed = phases.reduce<readonly CallClass[]>(
      (open, { allow }) => open.filter((name) => allow.includes(name)),
      this.#isWritingClosed ? [] : guestClosableCalls,
    )
    const answers: Record<string, string> = this.#isWritingClosed ? { write: 'EROFS' } : {}
    return { allowed, planned: 0, answers, trust: 'guest', ...(killed > 0 && { killed }) }
  }

  /** Resolves with the number of processes that were killed. */
  async #closeWriting(): Promise<number> {
    const killed = await askPhase(this.#agent, { do: 'close-writing' }, CLOSE_MS_MAX)
    this.#isWritingClosed = true
    return killed
  }
}
