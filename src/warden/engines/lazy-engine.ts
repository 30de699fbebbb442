import type {
  DeadEnclosure,
  Enclosure,
  EnclosureSpec,
  Engine,
  EngineFacts,
  Resumption,
} from '../../contract/engine.ts'
import { MayflyError } from '../../contract/error.ts'
import type { MachineSave } from '../../contract/machine-save.ts'
import { closing, needsMacOs, noJail } from '../refusals.ts'
import { sweepDead } from './sweep.ts'

/** Starts the walls of an engine. */
export interface EngineStarter {
  start(spec: EnclosureSpec): Promise<Enclosure>
  /** Absent where this engine resumes no saves. */
  resume?(save: MachineSave): Promise<Resumption>
  /** Kills starts in flight and waits for them. */
  close(): Promise<void>
}

const sampleEveryMs = 10

/** System that an engine needs; `any` for a test that plays one. */
type System = 'linux' | 'darwin' | 'any'

export function withoutSaves(name: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot resume a machine by "${name}": it has no saves`)
}

/** An engine that few servers use: its starter is loaded with the first wall. */
export class LazyEngine implements Engine {
  readonly name: string
  readonly #load: () => Promise<EngineStarter>
  readonly #sweep: Engine['sweep']
  readonly #system: System
  #starter: Promise<EngineStarter> | undefined
  #isClosed = false

  constructor(
    name: string,
    load: () => Promise<EngineStarter>,
    { sweep = sweepDead, system = 'linux' }: { sweep?: Engine['sweep']; system?: System } = {},
  ) {
    this.name = name
    this.#load = load
    this.#sweep = sweep
    this.#system = system
  }

  /** Probes nothing, because the warden calls it for each engine before its first wall. */
  detect(): EngineFacts {
    return { root: process.getuid?.() === 0, sampleEveryMs }
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    return await (await this.#loaded()).start(spec)
  }

  async resume(save: MachineSave): Promise<Resumption> {
    const resumption = (await this.#loaded()).resume?.(save)
    if (resumption) return await resumption
    throw withoutSaves(this.name)
  }

  sweep(dead: readonly DeadEnclosure[]): void {
    this.#sweep(dead)
  }

  /** No effect: a lease is written before each fork, so a wall without one does not exist. */
  sweepOrphans(): void {}

  async #loaded(): Promise<EngineStarter> {
    if (this.#system !== 'any' && process.platform !== this.#system)
      throw this.#system === 'linux' ? noJail(process.platform) : needsMacOs(this.name)
    this.#starter ??= this.#load()
    const starter = await this.#starter
    if (this.#isClosed) throw closing()
    return starter
  }

  async close(): Promise<void> {
    this.#isClosed = true
    // A starter that could not be loaded has failed each wall of this engine, and holds nothing.
    const starter = await this.#starter?.catch(() => undefined)
    await starter?.close()
  }
}
