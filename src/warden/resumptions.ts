import { randomBytes } from 'node:crypto'
import type { Enclosure, Engine, Resumption } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import type { MachineSave } from '../contract/machine-save.ts'
import type { Answer } from './operations.ts'
import type { StartedEnclosure } from './start.ts'

export interface ResumptionParts {
  /** Throws MayflyError UNAVAILABLE where no engine has this mechanism. */
  readonly engineFor: (save: Pick<MachineSave, 'program' | 'mechanism'>) => Engine
  readonly start: (resumed: Promise<Enclosure>) => Promise<StartedEnclosure>
  /** Ends a wall. */
  readonly kill: (wall: string) => void
}

/** Each has the memory of a machine on this host's disk. */
const RESUMPTIONS_MAX = 4
/** Time from the request until it is taken, in milliseconds: a save is sent, and a machine resumed. */
const TAKE_MS_MAX = 600_000

/**
 * Machines that are being resumed, from the request for the socket of their save until they are taken. A machine that is not taken in
 * time is ended.
 */
export class Resumptions {
  readonly #parts: ResumptionParts
  readonly #waiting = new Map<string, Promise<StartedEnclosure>>()

  constructor(parts: ResumptionParts) {
    this.#parts = parts
  }

  /** Answers with the socket for the save. Throws MayflyError UNAVAILABLE and OVERLOADED. */
  async begin(save: MachineSave): Promise<Answer> {
    if (this.#waiting.size >= RESUMPTIONS_MAX)
      throw new MayflyError('OVERLOADED', `Cannot resume a machine: ${RESUMPTIONS_MAX} are waiting`)
    const { socket, resumed } = await this.#resume(save)
    const resumption = `r${randomBytes(8).toString('hex')}`
    // Read when it is taken, or never: a start may be refused while the save is still received.
    resumed.catch(() => undefined)
    const started = this.#parts.start(resumed)
    started.catch(() => release(resumed))
    this.#waiting.set(resumption, started)
    setTimeout(() => void this.#drop(resumption), TAKE_MS_MAX).unref()
    return { value: { resumption }, handover: { wall: '', handle: socket } }
  }

  /** Answers with the machine, stopped, and the channel of its agent. Throws MayflyError NOT_FOUND, and as the engine does. */
  async take(resumption: string): Promise<Answer> {
    const started = this.#waiting.get(resumption)
    if (!started) throw new MayflyError('NOT_FOUND', `Cannot find resumption "${resumption}"`)
    this.#waiting.delete(resumption)
    return await started
  }

  async #drop(resumption: string): Promise<void> {
    const started = this.#waiting.get(resumption)
    this.#waiting.delete(resumption)
    await started?.then(({ value }) => this.#parts.kill(value.id)).catch(() => undefined)
  }

  async #resume(save: MachineSave): Promise<Resumption> {
    const engine = this.#parts.engineFor(save)
    const resumption = engine.resume?.(save)
    if (resumption) return await resumption
    throw new MayflyError('UNAVAILABLE', `Cannot resume a machine by "${save.mechanism}"`)
  }
}

/** Releases a machine that became no wall, once it is resumed. Idempotent; it ends with this process in any case. */
async function release(resumed: Promise<Enclosure>): Promise<void> {
  await resumed.then((enclosure) => enclosure[Symbol.asyncDispose]()).catch(() => undefined)
}
