import { Mayfly } from './mayfly.ts'

/**
 * A hold on the Mayfly that sandboxes and detectors of this process share, unless they are handed one of their own.
 * The first that needs it opens it, the last that lets go closes it. It has no floor above the isolate and blocks
 * or restrains nothing by risk: whoever registers code decides that. Everything else is as configured.
 */
export class Hold {
  readonly #given: Mayfly | undefined
  #taken: Promise<Mayfly> | undefined

  /** `given` stays its owner's: it is used, never closed. */
  constructor(given?: Mayfly) {
    this.#given = given
  }

  /** Throws MayflyError STATE, CONFIG or WARDEN_LOST; the next call then tries again. */
  async mayfly(): Promise<Mayfly> {
    if (this.#given) return this.#given
    this.#taken ??= take()
    try {
      return await this.#taken
    } catch (thrown) {
      await this.release()
      throw thrown
    }
  }

  async release(): Promise<void> {
    const taken = this.#taken
    this.#taken = undefined
    if (taken) await giveBack(taken)
  }
}

let holders = 0
let shared: Promise<Mayfly> | undefined

function take(): Promise<Mayfly> {
  holders++
  shared ??= Mayfly.open({ escalation: { 0: 'isolate' }, restraint: {} })
  return shared
}

async function giveBack(taken: Promise<Mayfly>): Promise<void> {
  holders--
  if (holders > 0) return
  shared = undefined
  const mayfly = await taken.catch(() => undefined)
  await mayfly?.close()
}
