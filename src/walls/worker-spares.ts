import { MayflyError, messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import { sha256 } from '../lib/hash.ts'
import type { WardenClient } from './client.ts'
import { WallHandle } from './handle.ts'
import type { ProgramName } from '../contract/warden.ts'

/**
 * Warm walls of one program. A wall binds to the first tenant that it serves and never serves another. A spare without a
 * tenant is always kept, so that a tenant's first job finds a warm process. A bound wall is ended after a minute without a
 * job, or after a thousand jobs.
 */
export interface WorkerSparesOptions {
  readonly program: ProgramName
  readonly warden: WardenClient
  readonly emitter: Emitter
  /** Isolates prepared in each worker, and their memory limit. */
  readonly spares: number
  readonly spareMiB: number
  readonly wallsMax: number
  /** Whether a spare without a tenant is always kept; `mayfly run` needs none. */
  readonly keepReady: boolean
}

/** Isolates prepared in a worker for a waiting job: each delays the job by 3 ms. */
const SPARES_AWAITED = 1

/** Tenant of the probe guest that proves a wall: it binds the wall to no tenant. */
export const probeTenant = ''

export class WorkerSpares {
  readonly #options: WorkerSparesOptions
  readonly #idle: WallHandle[] = []
  /** Walls that are dropping the guest of a job that was answered. */
  readonly #clearing = new Set<ClearingWall>()
  readonly #all = new Set<WallHandle>()
  readonly #timer: NodeJS.Timeout
  /** Start in flight of the spare without a tenant. */
  #starting: Promise<WallHandle> | undefined
  /** Whether a job waits for that start; at most one does. */
  #isStartingTaken = false
  /** Starts that a job waits for. */
  #awaited = 0
  #isClosed = false
  /** Next look for idle walls with a deadline. */
  #resting: NodeJS.Timeout | undefined

  constructor(options: WorkerSparesOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#retireIdle(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  /** Takes a wall for this tenant; `hit` if it was warm. */
  async take(tenant: string) {
    if (this.#isClosed) throw new MayflyError('DRAINING', 'Cannot take a wall: it is closing')
    const bound = tenant === probeTenant ? undefined : sha256(tenant)
    const warm = this.#pick(bound)
    const clearing = warm ? undefined : this.#clearingOf(bound)
    let ready = warm ?? (clearing && (await this.#cleared(clearing))) ?? this.#pick(undefined)
    // The guest of a proof may still be dropped when the first job comes.
    const proving = ready ? undefined : this.#clearingOf(undefined)
    if (proving) ready = await this.#cleared(proving)
    if (!ready) this.#makeRoom()
    const handle = ready ?? (await this.#startFor(bound))
    // The warden is told by a claim whose it is: one that proved itself was claimed for no tenant.
    if (handle.tenant !== bound) handle.memoryBound = undefined
    handle.tenant = bound
    handle.jobs++
    if (bound !== undefined) this.#keepOneUnbound()
    return { wall: handle, pool: ready ? ('hit' as const) : ('miss' as const) }
  }

  /** Takes a wall back. No job gets it until `clears` resolves to true: to false it is killed. */
  give(handle: WallHandle, clears?: Promise<boolean>): void {
    if (!clears || !handle.alive || this.#isClosed) return this.#keep(handle)
    const cleared = clears.then((isClear) => this.#settle(wall, isClear))
    const wall: ClearingWall = { handle, isAwaited: false, cleared }
    this.#clearing.add(wall)
  }

  #settle(wall: ClearingWall, isClear: boolean): void {
    this.#clearing.delete(wall)
    if (!isClear) void wall.handle.kill()
    if (!wall.isAwaited) this.#keep(wall.handle)
  }

  #keep(handle: WallHandle): void {
    handle.idleSince = performance.now()
    const isSpent = handle.jobs >= JOBS_MAX
    if (!handle.alive || isSpent || this.#isClosed) void handle.kill()
    else if (handle.hasFewSpares) this.#idle.unshift(handle)
    else this.#idle.push(handle)
    if (handle.alive) this.#restSoon()
    else this.#keepOneUnbound()
  }

  /** Starts the spare without a tenant. */
  async ready(): Promise<WallHandle> {
    const handle = this.#idle.find((candidate) => candidate.alive) ?? (await this.#unbound())
    if (!this.#idle.includes(handle)) this.#idle.push(handle)
    return handle
  }

  /** Whether it waits for a job. */
  isIdle(handle: WallHandle): boolean {
    return this.#idle.includes(handle)
  }

  /** Ends a wall that waits for a job, once the spare without a tenant is there to take its place. */
  async retire(handle: WallHandle): Promise<void> {
    this.#keepOneUnbound()
    await this.#starting?.catch(() => undefined)
    const index = this.#idle.indexOf(handle)
    if (index < 0) return
    this.#idle.splice(index, 1)
    void handle.kill()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    clearTimeout(this.#resting)
    await Promise.all([...this.#all].map((handle) => handle.kill()))
  }

  /** Starts a wall for a waiting job. The spare without a tenant is not started meanwhile. */
  async #startFor(tenant: string | undefined): Promise<WallHandle> {
    this.#awaited++
    try {
      const begun = this.#isStartingTaken ? undefined : this.#starting
      if (begun) {
        this.#isStartingTaken = true
        await begun.catch(() => undefined)
        const ready = this.#pick(tenant) ?? this.#pick(undefined)
        if (ready) return ready
      }
      const handle = await this.#start(Math.min(this.#options.spares, SPARES_AWAITED))
      handle.hasFewSpares = true
      return handle
    } finally {
      this.#awaited--
    }
  }

  async #start(spares = this.#options.spares): Promise<WallHandle> {
    const { warden, program, spareMiB, emitter } = this.#options
    const { wall, socket } = await warden.start(program, { spares, spareMiB })
    const handle = new WallHandle(wall, socket, warden)
    handle.ref(false)
    this.#all.add(handle)
    if (this.#isClosed) void handle.kill()
    emitter.emit('pool/refilled', { program, wall: wall.id, took: wall.took, layers: wall.layers })
    return handle
  }

  #keepOneUnbound(): void {
    const { keepReady, wallsMax, emitter, program } = this.#options
    const isThere = this.#idle.some((handle) => handle.alive && handle.tenant === undefined)
    if (!keepReady || this.#isClosed || this.#starting || this.#awaited > 0 || isThere) return
    if (this.#live().length >= wallsMax) return
    void this.#unbound().then(
      (handle) => void this.#idle.push(handle),
      (error: unknown) => {
        emitter.emit('tier/unavailable', { program, reason: messageOf(error) })
        setTimeout(() => this.#keepOneUnbound(), RETRY_MS).unref()
      },
    )
  }

  #unbound(): Promise<WallHandle> {
    this.#starting = this.#start().finally(() => {
      this.#starting = undefined
      this.#isStartingTaken = false
    })
    return this.#starting
  }

  #live(): readonly WallHandle[] {
    for (const handle of this.#all) if (!handle.alive) this.#all.delete(handle)
    return [...this.#all]
  }

  #pick(tenant: string | undefined): WallHandle | undefined {
    const index = this.#idle.findLastIndex((one) => one.alive && one.tenant === tenant)
    return index < 0 ? undefined : this.#idle.splice(index, 1)[0]
  }

  #clearingOf(tenant: string | undefined): ClearingWall | undefined {
    for (const wall of this.#clearing)
      if (isUnwanted(wall) && wall.handle.tenant === tenant) return wall
    return undefined
  }

  /** Waits until a wall has dropped its guest: a tenth of a millisecond, where a start takes a hundred. */
  async #cleared(wall: ClearingWall): Promise<WallHandle | undefined> {
    const { handle } = wall
    wall.isAwaited = true
    await wall.cleared
    if (handle.alive && handle.jobs < JOBS_MAX) return handle
    void handle.kill()
    return this.#pick(handle.tenant)
  }

  /** Timer of all walls: each job with a timer of its own would cost more than what this saves. */
  #restSoon(): void {
    this.#resting ??= setTimeout(() => this.#restIdle(), REST_AFTER_MS).unref()
  }

  /** Ends the deadlines of walls that have been idle for a while. */
  #restIdle(): void {
    this.#resting = undefined
    const now = performance.now()
    for (const { deadline, idleSince } of this.#idle)
      if (now - idleSince >= REST_AFTER_MS) deadline.rest()
    if (this.#idle.some(({ deadline }) => deadline.isArmed)) this.#restSoon()
  }

  #retireIdle(): void {
    const now = performance.now()
    for (const handle of Array.from(this.#idle)) {
      const isStale = handle.tenant !== undefined && now - handle.idleSince > IDLE_MS_MAX
      if (!isStale && handle.alive) continue
      this.#idle.splice(this.#idle.indexOf(handle), 1)
      void handle.kill()
    }
    this.#keepOneUnbound()
  }

  /** Ends a wall without a job of another tenant if there is no room for one more. */
  #makeRoom(): void {
    if (this.#live().length < this.#options.wallsMax) return
    const victim = this.#idle.find((handle) => handle.alive && handle.tenant !== undefined)
    if (victim) this.#idle.splice(this.#idle.indexOf(victim), 1)
    const ended = victim ?? [...this.#clearing].find(isUnwanted)?.handle
    void ended?.kill()
  }
}

/** A wall that was given back and has yet to drop its guest. */
interface ClearingWall {
  readonly handle: WallHandle
  /** A job waits for it; at most one does. */
  isAwaited: boolean
  readonly cleared: Promise<void>
}

function isUnwanted({ isAwaited, handle }: ClearingWall): boolean {
  return !isAwaited && handle.alive
}

const IDLE_MS_MAX = 60_000
/** Idle time after which a wall has no deadline any more; it takes up to twice as long to notice. */
const REST_AFTER_MS = 100
const LOOK_EVERY_MS = 5_000
const JOBS_MAX = 1_000
const RETRY_MS = 1_000
