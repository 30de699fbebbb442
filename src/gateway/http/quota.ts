import type { Clock, Timer } from '../../contract/clock.ts'
import type { Tenant } from '../../contract/config.ts'
import { MayflyError } from '../../contract/error.ts'
import type { QuotaStore } from './quota-store.ts'

/**
 * Quotas (rate limits) of a tenant over HTTP: concurrent jobs, and per minute jobs, processor time and bytes.
 *
 * Mechanism: token buckets that refill evenly and hold one minute. A job may start while every bucket is above
 * zero; its real cost is subtracted when it ends, so a bucket may go into debt and the tenant waits until it is
 * paid. A debt is an hour of refilling at most, in memory and in the store, whatever a job is said to have cost and
 * whatever a damaged store holds.
 *
 * Levels are written to the store within a second and read at start, so a restart resets nothing. Servers that share
 * a state folder share levels with that one second of lag, and may together overspend by as much.
 */
export interface Quotas {
  /**
   * Starts the account of a job; `isInSession`: an exec, whose session has the place among the concurrent ones. Throws MayflyError
   * RATE_LIMITED with a retry time.
   */
  begin(tenant: string, bytesIn: number, isInSession?: boolean): QuotaSlot
  /** Charges bytes that move without a job, such as files of a session. Throws MayflyError RATE_LIMITED if none are left. */
  transfer(tenant: string, bytes: number): void
  /** `RateLimit-*` headers of the tightest bucket; empty for a tenant without quotas. */
  headers(tenant: string): Readonly<Record<string, string>>
  /** Writes the levels. Idempotent. */
  close(): void
}

export interface QuotaSlot {
  /** Releases the slot and subtracts the cost. Idempotent. */
  end(spent: { readonly cpuMs: number; readonly bytesOut: number }): void
}

export type QuotaCeilings = Pick<Tenant['ceilings'], 'concurrency' | BucketName>

export interface QuotaParts {
  readonly ceilings: (tenant: string) => QuotaCeilings
  readonly store: QuotaStore
  readonly clock: Clock
}

/** Configuration names, and bucket units in one configured unit. */
const unitOf = {
  runs_per_minute: 1,
  cpu_seconds_per_minute: 1000,
  bytes_per_minute: 1,
} as const
type BucketName = keyof typeof unitOf
const bucketNames = Object.keys(unitOf) as readonly BucketName[]

/** Refuses no job. */
export const noQuotas: Quotas = {
  begin: () => ({ end: () => undefined }),
  transfer: () => undefined,
  headers: () => ({}),
  close: () => undefined,
}

const MINUTE_MS = 60_000
const writeAfterMs = 1000
/** Largest debt of a bucket, in minutes of its refilling. */
const debtMinutesMax = 60
/** Retry hint when all concurrent slots are taken. */
const placeRetryMs = 1000

interface Bucket {
  readonly tenant: string
  readonly name: BucketName
  capacity: number
  level: number
  at: number
  /** Spent since the last write to the store. */
  spent: number
}

export function createQuotas(parts: QuotaParts): Quotas {
  return new OpenQuotas(parts)
}

class OpenQuotas implements Quotas {
  readonly #parts: QuotaParts
  /** Bounded by the tenants with a ceiling or a key. */
  readonly #buckets = new Map<string, Bucket>()
  readonly #running = new Map<string, number>()
  #timer: Timer | undefined
  #closed = false

  constructor(parts: QuotaParts) {
    this.#parts = parts
  }

  begin(tenant: string, bytesIn: number, isInSession = false): QuotaSlot {
    const buckets = this.#bucketsOf(tenant)
    if (!isInSession) this.#assertPlace(tenant)
    assertLeft(buckets)
    this.#spend(buckets, { runs_per_minute: 1, bytes_per_minute: bytesIn })
    if (!isInSession) this.#running.set(tenant, (this.#running.get(tenant) ?? 0) + 1)
    let ended = false
    return {
      end: ({ cpuMs, bytesOut }) => {
        if (ended) return
        ended = true
        if (!isInSession) this.#leave(tenant)
        const spent = { cpu_seconds_per_minute: cpuMs, bytes_per_minute: bytesOut }
        this.#spend(this.#bucketsOf(tenant), spent)
      },
    }
  }

  transfer(tenant: string, bytes: number): void {
    const buckets = this.#bucketsOf(tenant).filter(({ name }) => name === 'bytes_per_minute')
    assertLeft(buckets)
    this.#spend(buckets, { bytes_per_minute: bytes })
  }

  headers(tenant: string): Readonly<Record<string, string>> {
    const buckets = this.#bucketsOf(tenant)
    const [tightest] = buckets.toSorted((a, b) => a.level / a.capacity - b.level / b.capacity)
    if (!tightest) return {}
    const { name, level, capacity } = tightest
    const policies = buckets.map(
      (one) => `${inWhole(one.name, one.capacity)};w=60;comment="${one.name}"`,
    )
    return {
      'ratelimit-limit': String(inWhole(name, capacity)),
      'ratelimit-remaining': String(Math.floor(Math.max(0, level) / unitOf[name])),
      'ratelimit-reset': String(Math.ceil(msUntil(tightest, capacity) / 1000)),
      'ratelimit-policy': policies.join(', '),
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    this.#write()
    this.#parts.store.close()
  }

  #bucketsOf(tenant: string): readonly Bucket[] {
    const ceilings = this.#parts.ceilings(tenant)
    return bucketNames.flatMap((name) => {
      const given = ceilings[name]
      return given === undefined ? [] : [this.#bucket(tenant, name, given * unitOf[name])]
    })
  }

  /** Refills the bucket up to now. A new bucket starts at its stored level, or full. */
  #bucket(tenant: string, name: BucketName, capacity: number): Bucket {
    const { clock, store } = this.#parts
    const key = `${name}/${tenant}`
    const now = clock.now()
    const known = this.#buckets.get(key)
    if (known) {
      known.capacity = capacity
      known.level = filled(known.level, now - known.at, capacity)
      known.at = now
      return known
    }
    const saved = store.read(tenant, name)
    const level = saved ? filled(saved.level, clock.date() - saved.at, capacity) : capacity
    const fresh: Bucket = { tenant, name, capacity, level, at: now, spent: 0 }
    this.#buckets.set(key, fresh)
    return fresh
  }

  #assertPlace(tenant: string): void {
    const { concurrency } = this.#parts.ceilings(tenant)
    if (concurrency === undefined || (this.#running.get(tenant) ?? 0) < concurrency) return
    throw over('concurrency', placeRetryMs)
  }

  #leave(tenant: string): void {
    const running = this.#running.get(tenant)! - 1
    if (running > 0) this.#running.set(tenant, running)
    else this.#running.delete(tenant)
  }

  #spend(buckets: readonly Bucket[], amounts: Partial<Record<BucketName, number>>): void {
    for (const bucket of buckets) {
      const amount = amounts[bucket.name] ?? 0
      bucket.level = bounded(bucket.level - amount, bucket.capacity)
      bucket.spent += Math.min(amount, 2 * debtMinutesMax * bucket.capacity)
    }
    if (this.#timer || this.#closed || buckets.length === 0) return
    this.#timer = this.#parts.clock.after(writeAfterMs, () => {
      this.#timer = undefined
      this.#write()
    })
    this.#timer.unref?.()
  }

  /** A failed write is retried with the next one; levels in memory stay authoritative until then. */
  #write(): void {
    const { store, clock } = this.#parts
    const dirty = [...this.#buckets.values()].filter((bucket) => bucket.spent > 0)
    if (dirty.length === 0) return
    const spent = dirty.map(({ tenant, name, capacity }) => this.#bucket(tenant, name, capacity))
    const date = Math.round(clock.date())
    const next = (level: number, at: number, { capacity, spent: amount }: Bucket) =>
      bounded(filled(level, date - at, capacity) - amount, capacity)
    try {
      const levels = store.spend(spent, date, next)
      for (const [index, bucket] of spent.entries()) {
        Object.assign(bucket, { level: levels[index], at: clock.now(), spent: 0 })
      }
    } catch {
      return
    }
  }
}

function filled(level: number, ms: number, capacity: number): number {
  return bounded(bounded(level, capacity) + (Math.max(0, ms) * capacity) / MINUTE_MS, capacity)
}

/** A level within a full bucket and the largest debt; one that is no number counts as the debt. */
function bounded(level: number, capacity: number): number {
  const least = -debtMinutesMax * capacity
  return level > least ? Math.min(capacity, level) : least
}

function assertLeft(buckets: readonly Bucket[]): void {
  const waits = buckets.map((bucket) => ({ bucket, ms: msUntil(bucket, leastOf(bucket)) }))
  const [longest] = waits.toSorted((a, b) => b.ms - a.ms)
  if (longest && longest.ms > 0) throw over(longest.bucket.name, longest.ms)
}

/** Minimum level at which a job may start: one whole job, or any positive amount of the other units. */
function leastOf({ name, capacity }: Bucket): number {
  return name === 'runs_per_minute' ? 1 : Math.min(1, capacity)
}

function msUntil({ level, capacity }: Bucket, wanted: number): number {
  return Math.max(0, Math.ceil(((wanted - level) * MINUTE_MS) / capacity))
}

/** `RateLimit-*` headers carry integers only. */
function inWhole(name: BucketName, capacity: number): number {
  return Math.ceil(capacity / unitOf[name])
}

function over(limit: string, retryAfterMs: number): MayflyError {
  return new MayflyError('RATE_LIMITED', `Cannot take another job now: "${limit}" is used up`, {
    details: { limit },
    retryAfterMs,
  })
}
