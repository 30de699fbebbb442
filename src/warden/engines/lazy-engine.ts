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
import { closing, noJail } from '../refusals.ts'
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

export function withoutSaves(name: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot resume a machine by "${name}": it has no saves`)
}

/** An engine that few servers use: its starter is loaded with the first wall. */
export class LazyEngine implements Engine {
  readonly name: string
  readonly #load: () => Promise<EngineStarter>
  readonly #sweep: Engine['sweep']
  #starter: Promise<EngineStarter> | undefined
  #isClosed = false

  constructor(name: string, load: () => Promise<EngineStarter>, sweep = sweepDead) {
    this.name = name
    this.#load = load
    this.#sweep = sweep
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
    if (process.platform !== 'linux') throw noJail(process.platform)
    this.#starter ??= this.#load()
    const starter = await this.#starter
    if (this.#isClosed) throw closing()
    return starter
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await (await this.#starter)?.close()
  }
}
