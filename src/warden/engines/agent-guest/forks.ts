import { setImmediate as turn } from 'node:timers/promises'
import type { ConversationState } from '../../../agent-wire/conversation.ts'
import type { Enclosure, EnclosureFork, ForkControl } from '../../../contract/engine.ts'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import type { CapturedGuest } from './captures.ts'
import type { ForkDraft, LiveMachine, MachineFork, MachineForker } from './source.ts'

/** Longest wait for answers that a guest owes at its pause. */
const REST_MS_MAX = 2_000

/**
 * Forks of one guest while its job goes on.
 *
 * Order: the agent freezes the job inside the guest, the host pauses the guest, the position of the conversation with the agent is taken
 * and the machine is saved; then the guest goes on, with a renewed clock and seed. Each machine of the save stands still, with its job
 * frozen, until its claim made it another one. Facts about the guest that its enclosures begin with are read at the save.
 *
 * A capture of the guest that is under way ends first: it runs the guest for its report.
 *
 * A guest whose agent owes an answer is resumed until it came, with its job frozen. One whose job is not frozen, or that does not answer, is not forked: its copies would run programs with the generator of
 * their parent, or answer a request that their host never sent.
 */
export class GuestForks implements ForkControl {
  readonly #forker: MachineForker
  readonly #guest: CapturedGuest
  readonly #encloser: () => Enclose

  /** `encloser`: called while the guest stands still, makes the function that encloses machines of that save. */
  constructor(forker: MachineForker, guest: CapturedGuest, encloser: () => Enclose) {
    this.#forker = forker
    this.#guest = guest
    this.#encloser = encloser
  }

  async fork(): Promise<EnclosureFork> {
    const draft = await this.#forker.prepare()
    try {
      return await this.#guest.pauses.alone(() => this.#save(draft))
    } catch (error) {
      await draft.remove()
      const message = `Cannot fork wall "${this.#guest.id}": ${messageOf(error)}`
      throw new MayflyError('UNAVAILABLE', message, { cause: error })
    }
  }

  async #save(draft: ForkDraft): Promise<EnclosureFork> {
    const { pauses } = this.#guest
    const began = performance.now()
    let fork: MachineFork | undefined
    await pauses.pause('fork')
    try {
      const position = await this.#position()
      const enclose = this.#encloser()
      fork = await draft.save()
      const pausedMs = performance.now() - began
      return enclosureFork(fork, { pausedMs, position, enclose })
    } finally {
      await pauses.resume('fork').catch(async (error: unknown) => {
        await fork?.release()
        throw error
      })
    }
  }

  async #position(): Promise<ConversationState> {
    const { agent, freezer, pauses } = this.#guest
    // The CPU limit had paused the guest, with its job running.
    if (!freezer.isFrozen) await pauses.resumeDuring(() => freezer.freeze())
    if (!freezer.isFrozen) throw new Error('the guest did not freeze its programs')
    // Bytes that wait in the socket are read in the next poll of the event loop.
    await turn()
    await turn()
    if (!agent.isAtRest) {
      // Asked before the pause, by the measurement of its bounds for one. A paused guest is asked nothing more.
      await pauses.resumeDuring(() => agent.rest(REST_MS_MAX))
      await turn()
      await turn()
    }
    return agent.position
  }
}

type Enclose = (machine: LiveMachine) => Enclosure

interface ForkParts {
  readonly pausedMs: number
  readonly position: ConversationState
  readonly enclose: Enclose
}

function enclosureFork(
  fork: MachineFork,
  { pausedMs, position, enclose }: ForkParts,
): EnclosureFork {
  return {
    pausedMs,
    async start() {
      const machine = await fork.start(position)
      try {
        return enclose(machine)
      } catch (error) {
        await machine.release()
        throw error
      }
    },
    release: () => fork.release(),
  }
}
