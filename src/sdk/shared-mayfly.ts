import { Mayfly } from './mayfly.ts'

/**
 * Reference-counted Mayfly instance shared by sandboxes and detectors of this process. The first user opens it, the
 * last release closes it. No floor above the isolate, and no blocking or restraint by risk, which is decided at
 * registration. Everything else is as configured.
 */
export class SharedMayfly {
  readonly #given: Mayfly | undefined
  #shared: Promise<Mayfly> | undefined

  /** `given` is used but never closed. */
  constructor(given?: Mayfly) {
    this.#given = given
  }

  /** Throws MayflyError STATE, CONFIG or WARDEN_LOST; the next call retries. */
  async mayfly(): Promise<Mayfly> {
    if (this.#given) return this.#given
    this.#shared ??= take()
    try {
      return await this.#shared
    } catch (thrown) {
      await this.release()
      throw thrown
    }
  }

  async release(): Promise<void> {
    const shared = this.#shared
    this.#shared = undefined
    if (shared) await release(shared)
  }
}

let holders = 0
let shared: Promise<Mayfly> | undefined

function take(): Promise<Mayfly> {
  holders++
  shared ??= Mayfly.open({ escalation: { 0: 'isolate' }, restraint: {} })
  return shared
}

async function release(instance: Promise<Mayfly>): Promise<void> {
  holders--
  if (holders > 0) return
  shared = undefined
  const mayfly = await instance.catch(() => undefined)
  await mayfly?.close()
}
