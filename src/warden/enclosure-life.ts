import assert from 'node:assert/strict'
import type { ClaimBounds, EnclosureBounds } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import { present } from '../lib/present.ts'
import type { WallEnd } from '../contract/warden.ts'

/**
 * State machine of one enclosure, pure: starting → parked → claimed → ended. A single-use enclosure is claimed once, any
 * other repeatedly by one tenant; bounds only fall within a job; causes of its end race (socket, sampler, server), and the first
 * stays. A request out of order is answered CONFLICT; a call out of order from within the warden is a bug, and asserted.
 */
export type EnclosureState = 'starting' | 'parked' | 'claimed' | 'ended'

const nextStates: Readonly<Record<EnclosureState, readonly EnclosureState[]>> = {
  starting: ['parked', 'ended'],
  parked: ['claimed', 'ended'],
  claimed: ['claimed', 'ended'],
  ended: [],
}

export class EnclosureLife {
  readonly #id: string
  readonly #isSingleUse: boolean
  #state: EnclosureState = 'starting'
  #tenant: string | undefined
  #bounds: EnclosureBounds | undefined
  /** Orders to tighten that its engine has yet to hold or refuse. */
  readonly #orders = new Set<Partial<EnclosureBounds>>()
  #how: WallEnd | undefined
  /** Bounds that its claim must not exceed; undefined without a limit. */
  #ceiling: EnclosureBounds | undefined

  constructor(id: string, isSingleUse: boolean) {
    this.#id = id
    this.#isSingleUse = isSingleUse
  }

  get state(): EnclosureState {
    return this.#state
  }

  get tenant(): string | undefined {
    return this.#tenant
  }

  /** First cause of its end; undefined before. */
  get how(): WallEnd | undefined {
    return this.#how
  }

  park(): void {
    this.#advance('parked')
  }

  /** Keeps a forked enclosure to the tenant and the bounds that its parent has now. */
  keepWithin({ tenant, bounds }: Pick<EnclosureLife, 'tenant' | 'bounds'>): void {
    assert(this.#state === 'parked' && tenant !== undefined && bounds !== undefined)
    this.#tenant = tenant
    this.#ceiling = bounds
  }

  /** Bounds of its job; undefined before its claim. */
  get bounds(): EnclosureBounds | undefined {
    return this.#bounds && [...this.#orders].reduce<EnclosureBounds>(meetBounds, this.#bounds)
  }

  /**
   * Throws MayflyError CONFLICT for a second tenant, for a second claim of a single-use enclosure, and for bounds beyond those of the
   * parent of a forked one.
   */
  claim(tenant: string, bounds: ClaimBounds): void {
    if (tenant && this.#tenant !== undefined && this.#tenant !== tenant)
      throw this.#conflict('claim', 'it serves another tenant')
    if (this.#state === 'claimed' && this.#isSingleUse)
      throw this.#conflict('claim', 'it was claimed already')
    if (this.#ceiling && (!tenant || isBeyond(bounds, this.#ceiling)))
      throw this.#conflict('claim', 'its bounds are beyond those of the wall it was forked from')
    this.#advance('claimed')
    this.#tenant ??= tenant || undefined
    const { memory, cpu, io, processes } = bounds
    this.#bounds = present({ memory, cpu, io, processes })
    this.#orders.clear()
  }

  /**
   * Meet of the bounds in force, of all orders under way and of `asked`: a bound that is looser, or omitted, keeps its
   * value. `settle` tells whether the engine held it: if not, all but its memory is forgotten, which engines only lower.
   */
  tighten(asked: Partial<EnclosureBounds>): {
    readonly next: EnclosureBounds
    settle(isHeld: boolean): void
  } {
    const before = this.bounds
    if (this.#state !== 'claimed' || !before) throw this.#conflict('tighten', 'it has no job')
    const next = meetBounds(before, asked)
    assertFallen(before, next)
    this.#orders.add(asked)
    const settle = (isHeld: boolean) => {
      const isOfThisJob = this.#orders.delete(asked)
      const kept = isHeld ? asked : present({ memory: asked.memory })
      if (isOfThisJob && this.#bounds) this.#bounds = meetBounds(this.#bounds, kept)
    }
    return { next, settle }
  }

  /** Idempotent; the first cause stays, unless the kernel says later that memory ran out. */
  end(how: WallEnd): void {
    if (this.#state !== 'ended') this.#advance('ended')
    this.#how ??= how
  }

  /** Cause to report. An OOM kill closes the socket first, which by itself would look like an end by the server. */
  reported(isOutOfMemory: boolean): WallEnd {
    assert(
      this.#state === 'ended',
      `wall "${this.#id}" is reported as ended, and is ${this.#state}`,
    )
    return isOutOfMemory && this.#how !== 'deadline' ? 'memory' : (this.#how ?? 'exit')
  }

  #advance(to: EnclosureState): void {
    assert(
      nextStates[this.#state].includes(to),
      `wall "${this.#id}" cannot become ${to}: it is ${this.#state}`,
    )
    this.#state = to
  }

  #conflict(verb: string, why: string): MayflyError {
    return new MayflyError('CONFLICT', `Cannot ${verb} wall "${this.#id}": ${why}`)
  }
}

const limited = ['memory', 'cpu', 'io', 'processes'] as const

/** The lower of both for each bound. */
export function meetBounds<Bounds extends Partial<EnclosureBounds>>(
  before: Bounds,
  asked: Partial<EnclosureBounds>,
): Bounds {
  const least = limited.map((bound) => [bound, lowest(before[bound], asked[bound])] as const)
  return present(Object.fromEntries(least)) as Bounds
}

/** Lowest of the values that are given; undefined if none is. */
export function lowest(...all: readonly (number | undefined)[]): number | undefined {
  const given = all.filter((one) => one !== undefined)
  return given.length === 0 ? undefined : Math.min(...given)
}

function isBeyond(bounds: EnclosureBounds, ceiling: EnclosureBounds): boolean {
  return limited.some((bound) => (bounds[bound] ?? Infinity) > (ceiling[bound] ?? Infinity))
}

/** Throws AssertionError where a bound rose or was dropped. */
export function assertFallen(before: EnclosureBounds, after: EnclosureBounds): void {
  for (const bound of limited)
    assert(
      (after[bound] ?? Infinity) <= (before[bound] ?? Infinity),
      `${bound} rose from ${before[bound]} to ${after[bound]}`,
    )
}
