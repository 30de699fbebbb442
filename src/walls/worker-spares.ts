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
  /** True to always keep a spare without a tenant; `mayfly run` needs none. */
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
  /** Timer that disarms deadlines of idle walls. */
  #disarmTimer: NodeJS.Timeout | undefined

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
    // The worker may still be dropping the guest of its proof when the first job comes.
    const proving = ready ? undefined : this.#clearingOf(undefined)
    if (proving) ready = await this.#cleared(proving)
    if (!ready) this.#makeRoom()
    const handle = ready ?? (await this.#startFor(bound))
    // Only a claim binds the wall to its tenant at the warden; the claim of a proof was for no tenant.
    if (handle.tenant !== bound) handle.memoryBound = undefined
    handle.tenant = bound
    handle.jobs++
    if (bound !== undefined) this.#keepOneUnbound()
    return { wall: handle, pool: ready ? ('hit' as const) : ('miss' as const) }
  }

  /** Returns a wall to the pool. No job gets it until `clears` resolves to true; it is killed if that is false. */
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
    if (handle.alive) this.#disarmLater()
    else this.#keepOneUnbound()
  }

  /** Starts the spare without a tenant. */
  async ready(): Promise<WallHandle> {
    const handle = this.#idle.find((candidate) => candidate.alive) ?? (await this.#unbound())
    if (!this.#idle.includes(handle)) this.#idle.push(handle)
    return handle
  }

  /** True while it waits for a job. */
  isIdle(handle: WallHandle): boolean {
    return this.#idle.includes(handle)
  }

  /** Ends an idle wall once the spare without a tenant is ready to replace it. */
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
    clearTimeout(this.#disarmTimer)
    await Promise.all([...this.#all].map((handle) => handle.kill()))
  }

  /** Starts a wall for a waiting job; the spare without a tenant is not started at the same time. */
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

  /** Waits until a wall has dropped its guest: 0.1 ms, compared with 100 ms for a start. */
  async #cleared(wall: ClearingWall): Promise<WallHandle | undefined> {
    const { handle } = wall
    wall.isAwaited = true
    await wall.cleared
    if (handle.alive && handle.jobs < JOBS_MAX) return handle
    void handle.kill()
    return this.#pick(handle.tenant)
  }

  /** A single timer for all walls: a timer per job would cost more than the shared deadline saves. */
  #disarmLater(): void {
    this.#disarmTimer ??= setTimeout(() => this.#disarmIdle(), DISARM_AFTER_MS).unref()
  }

  /** Disarms the deadlines of walls that have been idle for `DISARM_AFTER_MS`. */
  #disarmIdle(): void {
    this.#disarmTimer = undefined
    const now = performance.now()
    for (const { deadline, idleSince } of this.#idle)
      if (now - idleSince >= DISARM_AFTER_MS) deadline.disarm()
    if (this.#idle.some(({ deadline }) => deadline.isArmed)) this.#disarmLater()
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

  /** Evicts an idle wall of another tenant if the pool is full. */
  #makeRoom(): void {
    if (this.#live().length < this.#options.wallsMax) return
    const victim = this.#idle.find((handle) => handle.alive && handle.tenant !== undefined)
    if (victim) this.#idle.splice(this.#idle.indexOf(victim), 1)
    const ended = victim ?? [...this.#clearing].find(isUnwanted)?.handle
    void ended?.kill()
  }
}

/** A returned wall that has not dropped its guest yet. */
interface ClearingWall {
  readonly handle: WallHandle
  /** True if a job waits for it; at most one does. */
  isAwaited: boolean
  readonly cleared: Promise<void>
}

function isUnwanted({ isAwaited, handle }: ClearingWall): boolean {
  return !isAwaited && handle.alive
}

const IDLE_MS_MAX = 60_000
/** Idle time after which a wall's deadline is disarmed; the timer may take up to twice as long. */
const DISARM_AFTER_MS = 100
const LOOK_EVERY_MS = 5_000
const JOBS_MAX = 1_000
const RETRY_MS = 1_000
