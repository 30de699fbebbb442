import type { Enclosure, EnclosureSpec, Engine } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import type { Wall } from '../contract/warden.ts'
import type { EnclosureLife } from './enclosure-life.ts'
import type { LiveWall } from './live-wall.ts'
import type { Handover } from './operations.ts'

/** Limit of walls (jobs, spares, analysts), above what a pool asks for. Root has a uid for each. */
const WALLS_MAX = 880

export interface StartedEnclosure {
  readonly value: Wall
  readonly handover: Handover
}

export interface StarterParts {
  /** Throws MayflyError UNAVAILABLE where no engine starts this program by this mechanism. */
  readonly engineFor: (spec: EnclosureSpec) => Engine
  /** Number of live walls. */
  readonly count: () => number
  /** Resolves once leases can be written; no wall is returned before. Undefined afterwards. */
  readonly settled: () => Promise<void> | undefined
  /** `within`: life of the enclosure that it was forked from. */
  readonly add: (enclosure: Enclosure, within?: EnclosureLife) => LiveWall
}

/** Starts enclosures, also ahead of the first request for them. */
export class Starter {
  readonly #parts: StarterParts
  readonly #ahead: { readonly key: string; readonly started: Promise<StartedEnclosure> }[] = []
  readonly #starting = new Set<Promise<unknown>>()
  readonly #stopped = Promise.withResolvers<void>()
  #isStopped = false

  constructor(parts: StarterParts) {
    this.#parts = parts
  }

  /** The first request for an equal spec takes it. */
  ahead(spec: EnclosureSpec): void {
    const started = this.#begin(spec)
    started.catch(() => undefined)
    this.#ahead.push({ key: keyOf(spec), started })
  }

  start(spec: EnclosureSpec): Promise<StartedEnclosure> {
    const key = keyOf(spec)
    const index = this.#ahead.findIndex((one) => one.key === key)
    return index < 0 ? this.#begin(spec) : this.#ahead.splice(index, 1)[0]!.started
  }

  /** Counts a machine that is being resumed as a start, and adds it. Rejects as `resumed` does; it is released then. */
  resume(resumed: Promise<Enclosure>): Promise<StartedEnclosure> {
    return this.#count(() => resumed)
  }

  /** Starts an enclosure of a fork, within the tenant and the bounds of its parent. Rejects as `start` does. */
  fork(start: () => Promise<Enclosure>, parent: EnclosureLife): Promise<StartedEnclosure> {
    return this.#count(start, parent)
  }

  /** Refuses all further starts. */
  stop(): void {
    this.#isStopped = true
    this.#stopped.resolve()
  }

  /** Resolves when each start in flight succeeded or failed. */
  async done(): Promise<void> {
    await Promise.allSettled(this.#starting)
  }

  #begin(spec: EnclosureSpec): Promise<StartedEnclosure> {
    return this.#count(() => this.#parts.engineFor(spec).start(spec))
  }

  async #count(start: () => Promise<Enclosure>, parent?: EnclosureLife): Promise<StartedEnclosure> {
    if (this.#parts.count() + this.#starting.size >= WALLS_MAX)
      throw new MayflyError('OVERLOADED', `Cannot start a wall: ${WALLS_MAX} are alive`)
    const started = this.#enter(start, parent)
    this.#starting.add(started)
    try {
      return await started
    } finally {
      this.#starting.delete(started)
    }
  }

  async #enter(start: () => Promise<Enclosure>, parent?: EnclosureLife): Promise<StartedEnclosure> {
    const enclosure = await start()
    try {
      await this.#settled()
      const { wall } = this.#parts.add(enclosure, parent).enclosure
      return { value: wall, handover: { wall: wall.id, ...enclosure.handOver() } }
    } catch (error) {
      await enclosure[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Throws MayflyError DRAINING if the warden closes first: the state folder may never be known. */
  async #settled(): Promise<void> {
    const settled = this.#parts.settled()
    if (settled) await Promise.race([settled, this.#stopped.promise])
    if (this.#isStopped)
      throw new MayflyError('DRAINING', 'Cannot start a wall: the warden is closing')
  }
}

/** Two specs with equal keys are interchangeable. */
function keyOf(spec: EnclosureSpec): string {
  const {
    program,
    spares,
    spareMiB,
    mechanism = 'any',
    disk = 0,
    calls,
    layers = [],
    image = '',
    usual,
  } = spec
  const mounted = layers.map(({ kind, layer }) => `${kind}:${layer}`).join()
  const bounds = usual ? JSON.stringify(usual) : ''
  return `${program} ${spares} ${spareMiB} ${mechanism} ${disk} ${calls?.join() ?? 'all'} ${mounted} ${image} ${bounds}`
}
