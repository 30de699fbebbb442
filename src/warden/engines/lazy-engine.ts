import type {
  DeadEnclosure,
  Enclosure,
  EnclosureSpec,
  Engine,
  EngineFacts,
} from '../../contract/engine.ts'
import { closing, noJail } from '../refusals.ts'
import { sweepDead } from './sweep.ts'

/** Starts the walls of an engine. */
export interface EngineStarter {
  start(spec: EnclosureSpec): Promise<Enclosure>
  /** Kills starts in flight and waits for them. */
  close(): Promise<void>
}

const sampleEveryMs = 10

/** An engine that few servers use: what starts its walls is loaded with the first one. */
export class LazyEngine implements Engine {
  readonly name: string
  readonly #load: () => Promise<EngineStarter>
  #starter: Promise<EngineStarter> | undefined
  #isClosed = false

  constructor(name: string, load: () => Promise<EngineStarter>) {
    this.name = name
    this.#load = load
  }

  /** Probes nothing: the warden calls it for each engine before its first wall. */
  detect(): EngineFacts {
    return { root: process.getuid?.() === 0, sampleEveryMs }
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    if (process.platform !== 'linux') throw noJail(process.platform)
    this.#starter ??= this.#load()
    const starter = await this.#starter
    if (this.#isClosed) throw closing()
    return await starter.start(spec)
  }

  sweep(dead: readonly DeadEnclosure[]): void {
    sweepDead(dead)
  }

  /** No wall of such an engine is without a lease: it is written before the fork. */
  sweepOrphans(): void {}

  async close(): Promise<void> {
    this.#isClosed = true
    await (await this.#starter)?.close()
  }
}
