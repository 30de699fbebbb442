import assert from 'node:assert/strict'

export interface AdmissionBudget {
  /** Memory of all jobs together, in bytes. */
  readonly memory: number
  /** Limit of busy (runnable) walls. */
  readonly runnable: number
  /**
   * Limit of additional busy walls for jobs that are expected to be short. No more of them are used than ordinary
   * slots are occupied by long jobs. Default 0.
   */
  readonly express?: number
  /** Limit of job walls, sleeping ones included; unlimited by default. */
  readonly jobs?: number
  readonly queueMax: number
  readonly waitMsMax: number
  /** Single tenant: it may use all of the memory. */
  readonly isOneAlone?: boolean
}

/** Need of one job. */
export interface RequestedRoom {
  readonly memory: number
  readonly walls: number
  /** True for a slot reserved for short jobs. */
  readonly isExpress?: boolean
  /** True if the job is expected to be short. */
  readonly forShort?: boolean
}

/** Largest share of one tenant in walls, memory and queue. */
const SHARE_OF_ONE = 0.75

/** Counted walls and memory of admitted jobs, in total and by tenant, against the budget and a tenant's share of it. */
export class AdmissionCounts {
  /** Limits of one tenant. */
  readonly shares: Readonly<Record<'running' | 'busy' | 'express' | 'memory' | 'queue', number>>
  readonly #budget: AdmissionBudget
  readonly #jobs: number
  readonly #runningOf = new Map<string, number>()
  readonly #busyOf = new Map<string, number>()
  readonly #expressOf = new Map<string, number>()
  readonly #memoryOf = new Map<string, number>()
  #running = 0
  #busy = 0
  #express = 0
  /** Busy walls in ordinary slots whose jobs are not expected to be short. */
  #long = 0
  #memory = 0

  constructor(budget: AdmissionBudget) {
    this.#budget = budget
    this.#jobs = budget.jobs ?? Infinity
    const running = shareOf(this.#jobs)
    this.shares = {
      running,
      busy: Math.min(running, shareOf(budget.runnable)),
      express: budget.express ? Math.min(running, shareOf(budget.express)) : 0,
      memory: Math.floor(budget.memory * (budget.isOneAlone ? 1 : SHARE_OF_ONE)),
      queue: shareOf(budget.queueMax),
    }
  }

  get running(): number {
    return this.#running
  }

  get busy(): number {
    return this.#busy + this.#express
  }

  get memory(): number {
    return this.#memory
  }

  fits(tenant: string, wanted: RequestedRoom): boolean {
    return this.isBelowShare(tenant, wanted) && this.#isRoomFor(wanted)
  }

  /** True if the tenant's walls or memory would exceed its share, idle walls included. */
  isShareHeld(tenant: string, { walls, memory }: RequestedRoom): boolean {
    const { shares } = this
    return (
      (this.#runningOf.get(tenant) ?? 0) + walls > shares.running ||
      (this.#memoryOf.get(tenant) ?? 0) + memory > shares.memory
    )
  }

  isBelowShare(tenant: string, { walls, memory, isExpress }: RequestedRoom): boolean {
    const { shares } = this
    const [busyOf, most] = isExpress
      ? [this.#expressOf, shares.express]
      : [this.#busyOf, shares.busy]
    return (
      (this.#runningOf.get(tenant) ?? 0) + walls <= shares.running &&
      (busyOf.get(tenant) ?? 0) + walls <= most &&
      (this.#memoryOf.get(tenant) ?? 0) + memory <= shares.memory
    )
  }

  #isRoomFor({ memory, walls, isExpress }: RequestedRoom): boolean {
    const budget = this.#budget
    const [busy, most] = isExpress
      ? [this.#express, Math.min(budget.express ?? 0, this.#long)]
      : [this.#busy, budget.runnable]
    return (
      this.#running + walls <= this.#jobs &&
      busy + walls <= most &&
      this.#memory + memory <= budget.memory
    )
  }

  countWalls(tenant: string, walls: number): void {
    this.#running += walls
    add(this.#runningOf, tenant, walls)
    const running = this.#running
    assert(
      running >= 0 && running <= this.#jobs,
      `${running} walls are admitted, of at most ${this.#jobs}`,
    )
  }

  countUse(tenant: string, room: RequestedRoom, by: 1 | -1): void {
    const { walls, memory, isExpress, forShort } = room
    if (isExpress) this.#express += by * walls
    else this.#busy += by * walls
    if (!isExpress && !forShort) this.#long += by * walls
    this.#memory += by * memory
    add(isExpress ? this.#expressOf : this.#busyOf, tenant, by * walls)
    add(this.#memoryOf, tenant, by * memory)
    assertCounted(this)
  }
}

/** Throws AssertionError if walls or bytes were released twice, or leaked. */
export function assertCounted(
  counts: Readonly<Record<'running' | 'busy' | 'memory', number>>,
): void {
  const { running, busy, memory } = counts
  assert(busy >= 0 && busy <= running, `${busy} of ${running} admitted walls are busy`)
  assert(memory >= 0, `${memory} bytes are counted`)
  assert(running > 0 || memory === 0, `${memory} bytes are counted, and no wall is admitted`)
}

function add(to: Map<string, number>, tenant: string, by: number): void {
  const now = (to.get(tenant) ?? 0) + by
  if (now > 0) to.set(tenant, now)
  else to.delete(tenant)
}

function shareOf(limit: number): number {
  return Math.max(1, Math.floor(limit * SHARE_OF_ONE))
}
