import os from 'node:os'
import type { Enclosure, WallRank } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import type { Reply, WallEnd, WallLoads, WallCost } from '../contract/warden.ts'
import type { EnclosureLife } from './enclosure-life.ts'
import { CpuCredit, type CpuReading } from './cpu-credit.ts'
import { LiveWall } from './live-wall.ts'
import { LongRunners } from './long-runners.ts'
import { createPressure, type PressureOptions } from './pressure.ts'
import { Sampler, type SampledWall } from './sampler.ts'

/** Table of live walls by id, with the sampler that enforces the bounds of those with a job. */

/** Pause after a sample of all loads, as a multiple of its CPU time: a tenth of a core at most. */
const LOADS_COST_FACTOR = 10
/** Milliseconds for which the usage of an ended wall is kept: its last output may be read after its end. */
const PAST_MS = 5_000

export interface LiveWallsParts {
  readonly push: (reply: Reply) => void
  readonly sampleEveryMs: number
  /** For tests: memory limit of all walls together, in place of this machine's. */
  readonly memoryBytes: number | undefined
}

export class LiveWalls {
  readonly #walls = new Map<string, LiveWall>()
  readonly #past = new Map<string, WallCost>()
  readonly #push: (reply: Reply) => void
  readonly #sampler: Sampler
  #loads: WallLoads | undefined
  #loadsAgainAt = 0
  readonly #longRunners = new LongRunners()
  /** Credits of workers, and of walls whose job is expected to be short, and has used little since. */
  readonly #credits = new Map<string, CpuCredit>()

  constructor({ push, sampleEveryMs, memoryBytes }: LiveWallsParts) {
    this.#push = push
    this.#sampler = new Sampler((one, how) => this.#over(one, how), sampleEveryMs, {
      pressure: createPressure(memoryHere(memoryBytes)),
    })
  }

  get size(): number {
    return this.#walls.size
  }

  get hasJobs(): boolean {
    return !this.#sampler.isResting
  }

  all(): readonly LiveWall[] {
    return [...this.#walls.values()]
  }

  /** `within`: life of the enclosure that it was forked from, whose tenant and bounds it keeps. */
  add(enclosure: Enclosure, within?: EnclosureLife): LiveWall {
    const wall = new LiveWall(enclosure, this.#sampler, (reply, used) => {
      this.#remember(enclosure.id, used)
      this.#push(reply)
    })
    if (within) wall.life.keepWithin(within)
    this.#walls.set(wall.id, wall)
    void wall.gone.then(() => this.#walls.delete(wall.id))
    return wall
  }

  /** Throws MayflyError NOT_FOUND, also for a wall that is ending. */
  find(id: string): LiveWall {
    const wall = this.#walls.get(id)
    if (!wall || wall.life.state === 'ended')
      throw new MayflyError('NOT_FOUND', `Cannot find wall "${id}"`)
    return wall
  }

  /** Resolves when no process of it is left, or after `killMsMax`. Also resolves for a wall that is already gone. */
  async kill(id: string, how: WallEnd): Promise<{ readonly took: number }> {
    const wall = this.#walls.get(id)
    return { took: wall ? (await wall.kill(how)).tookMs : 0 }
  }

  /** Enforces memory and deadline (milliseconds from now) of a claimed wall. */
  hold(wall: LiveWall, deadline: number, { isShort, isBehind, ...from }: HeldFrom): void {
    if (isBehind) this.#beginBehind(wall)
    else this.#beginRank(wall, isShort)
    this.#sampler.add({
      wall: wall.id,
      deadlineAt: performance.now() + deadline,
      peakBytes: from.bytes,
      ...from,
      tenant: wall.life.tenant,
      sample: (now) => wall.enclosure.sample(now),
    })
  }

  /**
   * Starts the next job of a wall's tenant; `ranMs` is its run time so far. Ends a wall whose bounds are not enforced,
   * or whose deadline has passed, and throws CONFLICT.
   */
  rearm(id: string, deadline: number, ranMs = 0): void {
    const wall = this.#walls.get(id)
    const keepsPeak = wall?.enclosure.isSingleUse === true && ranMs > 0
    if (wall && this.#sampler.rearm(id, deadline, keepsPeak)) {
      this.#beginRank(wall, this.#credits.get(id)?.isAhead === true)
      return wall.enclosure.rearm(ranMs)
    }
    // The server relies on the bounds: a wall without them must not run.
    wall?.end('killed')
    throw new MayflyError('CONFLICT', `Cannot arm wall "${id}": its bounds are not enforced`)
  }

  /** Moves the deadline to `ms` from now at least. */
  extend(id: string, ms: number): void {
    this.#sampler.extend(id, ms)
  }

  /**
   * Ends a job and returns its usage; the deadline is lifted, the memory bound stays. Reads the OOM count once more: a
   * program whose child was killed may report its end before the next sample.
   */
  release(id: string): WallCost {
    const past = this.#past.get(id)
    if (past) return past
    const wall = this.#walls.get(id)
    if (wall) this.#rankAnew(wall, 'parked')
    const cpuMs = wall?.enclosure.cpuTime().sinceClaimMs ?? 0
    const peakBytes = this.#sampler.rest(id)?.peakBytes ?? 0
    return { peakBytes, cpuMs, ...(wall?.isOutOfMemory && { isOutOfMemory: true }) }
  }

  /** The same for a job that ended with an error: adds the limit that it used up. */
  releaseFailed(id: string): WallCost | Promise<WallCost> {
    const cost = this.release(id)
    const use = this.#walls.get(id)?.limitUse()
    return use instanceof Promise
      ? use.then((late) => ({ ...cost, ...late, ...this.#past.get(id) }))
      : { ...cost, ...use }
  }

  /** Loads of all walls, cached so that sampling takes a tenth of a core at most. Lowers the rank of long-running walls. */
  loads(): WallLoads {
    const now = performance.now()
    if (this.#loads && now < this.#loadsAgainAt) return this.#loads
    const walls = [...this.#sampler.active].flatMap(({ wall, bytes = 0 }) => {
      const live = this.#walls.get(wall)
      if (!live) return []
      const cpuMs = live.enclosure.cpuTime().sinceStartMs
      const isLong = this.#rankByUse(live, { atMs: now, cpuMs })
      return [{ wall, bytes, cpuMs, ...(isLong && { isLong }) }]
    })
    this.#longRunners.keep(new Set(walls.map(({ wall }) => wall)))
    for (const id of this.#credits.keys()) if (!this.#walls.has(id)) this.#credits.delete(id)
    this.#loads = { atMs: now, walls }
    this.#loadsAgainAt = performance.now() + (performance.now() - now) * LOADS_COST_FACTOR
    return this.#loads
  }

  async close(): Promise<void> {
    await Promise.all(this.all().map((wall) => wall.kill('killed')))
    this.#sampler.close()
  }

  /** Resets the rank: CPU time of the last job does not count against the next one, but for the credit of a worker. */
  #rankAnew(wall: LiveWall, rank: WallRank): void {
    this.#longRunners.forget(wall.id)
    if (wall.enclosure.isSingleUse) this.#credits.delete(wall.id)
    wall.enclosure.rank?.(rank)
  }

  #beginRank(wall: LiveWall, isShort: boolean): void {
    const isWorker = !wall.enclosure.isSingleUse
    const credit = isWorker || isShort ? this.#creditOf(wall, isWorker) : undefined
    this.#rankAnew(wall, credit?.isAhead ? 'ahead' : 'job')
    if (credit) this.#credits.set(wall.id, credit)
  }

  #beginBehind(wall: LiveWall): void {
    this.#rankAnew(wall, 'behind')
    const cpuMs = wall.enclosure.cpuTime().sinceStartMs
    this.#longRunners.begin(wall.id, performance.now(), cpuMs)
  }

  /** Credit for the next job: a new one, or what a worker has left. */
  #creditOf({ id, enclosure }: LiveWall, isWorker: boolean): CpuCredit {
    const reading = { atMs: performance.now(), cpuMs: enclosure.cpuTime().sinceStartMs }
    const kept = isWorker ? this.#credits.get(id) : undefined
    kept?.charge(reading)
    return kept ?? new CpuCredit({ ...reading, isWorker })
  }

  /** Ranks a wall with a job by what it has used; returns true for a long-running one. */
  #rankByUse({ id, enclosure }: LiveWall, reading: CpuReading): boolean {
    const credit = this.#credits.get(id)
    const isChanged = credit?.charge(reading) === true
    if (credit?.isAhead && !enclosure.isSingleUse) {
      if (isChanged) enclosure.rank?.('ahead')
      // A worker is not long-running by what its credit covers.
      this.#longRunners.forget(id)
      return false
    }
    const { atMs, cpuMs } = reading
    const { isLong, isBehind, hasChanged } = this.#longRunners.check(id, atMs, cpuMs)
    if (isChanged || hasChanged) enclosure.rank?.(isBehind ? 'behind' : 'job')
    return isLong
  }

  #over(one: SampledWall, how: WallEnd): void {
    this.#walls.get(one.wall)?.end(how, one)
  }

  #remember(id: string, used: WallCost): void {
    this.#past.set(id, used)
    setTimeout(() => this.#past.delete(id), PAST_MS).unref()
  }
}

/** Sizes of a claimed wall in bytes, and what is expected of its job. */
interface HeldFrom {
  readonly bytes: number
  readonly idleBytes: number
  readonly isShort: boolean
  readonly isBehind: boolean
}

/** Memory of the machine, or of its container if that is less. */
function memoryHere(given: number | undefined): PressureOptions {
  const bound = given ?? process.constrainedMemory()
  const all = os.totalmem()
  const isBound = bound > 0 && bound < all
  return { memory: isBound ? bound : all, isBound }
}
