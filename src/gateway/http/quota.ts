import type { Clock, Timer } from '../../contract/clock.ts'
import { MayflyError } from '../../contract/error.ts'
import type { JobAccount } from '../../contract/job.ts'
import {
  bounded,
  bucketNames,
  filledLevel,
  inWhole,
  msUntil,
  refill,
  subtract,
  unitOf,
  waitOf,
  type Bucket,
  type BucketName,
  type QuotaCeilings,
} from './quota-bucket.ts'
import type { QuotaStore } from './quota-store.ts'
import { tenantSubject, VisitorSubjects, type QuotaSubject } from './quota-subjects.ts'

export type Quotas = Pick<OpenQuotas, keyof OpenQuotas>

/** Charges work to quotas. The quotas of a visitor charge the visitor, whichever tenant is passed. */
export interface JobQuotas {
  /**
   * Starts the account of a job; `isInSession`: an exec, for which its session occupies the concurrency slot. Throws MayflyError
   * RATE_LIMITED with a retry time.
   */
  begin(tenant: string, bytesIn: number, isInSession?: boolean): QuotaSlot
  /** Charges bytes that move without a job, such as files of a session. Throws MayflyError RATE_LIMITED if none are left. */
  transfer(tenant: string, bytes: number): void
}

export interface Visitor {
  /** Id of its token. */
  readonly token: string
  /** Address, or the network of it. */
  readonly address: string
}

export interface QuotaSlot {
  /** Charges the same quotas at once, before and after the end. Undefined without limits. */
  readonly account?: JobAccount | undefined
  /** Releases the slot and subtracts the cost. Idempotent. */
  end(spent: { readonly cpuMs: number; readonly bytesOut: number }): void
}

export interface QuotaParts {
  readonly ceilings: (tenant: string) => QuotaCeilings
  /** Ceilings of each visitor; default none. */
  readonly visitors?: () => VisitorCeilings
  readonly store: QuotaStore
  readonly clock: Clock
}

export interface VisitorCeilings {
  readonly token: QuotaCeilings
  /** All tokens of one address together. */
  readonly address: QuotaCeilings
}

/** Quotas without limits. */
export const noQuotas: Quotas = {
  begin: () => ({ end: () => undefined }),
  transfer: () => undefined,
  ofVisitor: () => noQuotas,
  headers: () => ({}),
  close: () => undefined,
}

const writeAfterMs = 1000
/** Interval of the sweep for visitors whose quotas are full again. */
const sweepAfterMs = 60_000
/** Retry hint when all concurrent slots are taken. */
const placeRetryMs = 1000
/** Largest share of the tenant's quotas for one address. */
const addressShare = 1 / 2

/** Bucket with the date of the row that it was last read from or written to. */
interface SavedBucket extends Bucket {
  savedAt: number | undefined
}

type Amounts = Partial<Record<BucketName, number>>

/**
 * Quotas (rate limits) of a tenant over HTTP: concurrent jobs, and per minute jobs, processor time and bytes.
 *
 * Mechanism: token buckets that refill evenly and hold one minute. A job may start while every bucket is above
 * zero; its real cost is subtracted when it ends, so a bucket may go into debt and the tenant waits until it is
 * paid. A debt is at most one hour of refilling, in memory and in the store, whatever cost a job reports and
 * whatever a damaged store contains.
 *
 * A visitor of pages has quotas by token and by address within those of its tenant. An address has at most half of
 * these. An amount spent beyond its own level is charged to the tenant as its own debt is paid, not at once, because
 * one long job would otherwise put all visitors into debt.
 *
 * Levels are written to the store within a second and read at start, so a restart resets nothing. Servers that share
 * a state folder share levels with that one second of lag, and may together overspend by as much.
 */
export class OpenQuotas implements JobQuotas {
  readonly #parts: QuotaParts
  /** Bounded by the tenants with a ceiling or a key, and by `#visitors`. */
  readonly #buckets = new Map<string, SavedBucket>()
  /** Buckets of addresses with a debt to the bucket of their tenant. */
  readonly #debtors = new Map<Bucket, string>()
  readonly #running = new Map<string, number>()
  readonly #visitors = new VisitorSubjects((subject) => this.#isIdle(subject))
  #timer: Timer | undefined
  #sweptAt = 0
  /** Slots that have not ended. */
  #open = 0
  #closed = false
  #isStoreClosed = false

  constructor(parts: QuotaParts) {
    this.#parts = parts
  }

  begin(tenant: string, bytesIn: number, isInSession = false): QuotaSlot {
    return this.#begin([tenantSubject(tenant)], bytesIn, isInSession)
  }

  transfer(tenant: string, bytes: number): void {
    this.#transfer([tenantSubject(tenant)], bytes)
  }

  /** Quotas of one visitor, within those of the tenant of all visitors. */
  ofVisitor(tenant: string, { token, address }: Visitor): JobQuotas {
    const subjects = (): readonly QuotaSubject[] => {
      if (this.#visitors.isFull) this.#sweep()
      return [
        this.#visitors.of(tenant, 'token', token),
        this.#visitors.of(tenant, 'address', address),
        tenantSubject(tenant),
      ]
    }
    return {
      begin: (_, bytesIn, isInSession = false) => this.#begin(subjects(), bytesIn, isInSession),
      transfer: (_, bytes) => this.#transfer(subjects(), bytes),
    }
  }

  /** `RateLimit-*` headers of the tightest bucket; empty for a tenant without quotas. */
  headers(tenant: string): Readonly<Record<string, string>> {
    const buckets = this.#bucketsOf(tenantSubject(tenant))
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

  /** Writes the levels. The end of a job that outlasts it writes them again, and the last one closes the store. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    this.#writeLast()
  }

  #begin(subjects: readonly QuotaSubject[], bytesIn: number, isInSession: boolean): QuotaSlot {
    this.#settle()
    if (!isInSession) for (const subject of subjects) this.#assertPlace(subject)
    for (const subject of subjects) assertLeft(subject, this.#bucketsOf(subject))
    this.#spend(subjects, { runs_per_minute: 1, bytes_per_minute: bytesIn })
    if (!isInSession) for (const { name } of subjects) this.#enter(name)
    this.#open++
    let ended = false
    return {
      account: {
        sender: subjects.find(({ kind }) => kind === 'address')?.name,
        charge: (cpuMs) => this.#spend(subjects, { cpu_seconds_per_minute: cpuMs }),
      },
      end: ({ cpuMs, bytesOut }) => {
        if (ended) return
        ended = true
        if (!isInSession) for (const { name } of subjects) this.#leave(name)
        this.#spend(subjects, { cpu_seconds_per_minute: cpuMs, bytes_per_minute: bytesOut })
        this.#open--
        if (this.#closed) this.#writeLast()
      },
    }
  }

  #transfer(subjects: readonly QuotaSubject[], bytes: number): void {
    this.#settle()
    for (const subject of subjects) {
      const buckets = this.#bucketsOf(subject).filter(({ name }) => name === 'bytes_per_minute')
      assertLeft(subject, buckets)
    }
    this.#spend(subjects, { bytes_per_minute: bytes })
  }

  #ceilingsOf({ kind, tenant }: QuotaSubject): QuotaCeilings {
    const all = this.#parts.ceilings(tenant)
    if (kind === 'tenant') return all
    const own = this.#parts.visitors?.()[kind] ?? {}
    return kind === 'token' ? own : withinShare(own, all)
  }

  #bucketsOf(subject: QuotaSubject): readonly Bucket[] {
    const ceilings = this.#ceilingsOf(subject)
    return bucketNames.flatMap((name) => {
      const given = ceilings[name]
      return given === undefined ? [] : [this.#bucket(subject, name, given * unitOf[name])]
    })
  }

  /** Refills the bucket up to now. A new bucket starts at its stored level, or full. */
  #bucket(subject: QuotaSubject, name: BucketName, capacity: number): Bucket {
    const { clock, store } = this.#parts
    const key = `${name}/${subject.name}`
    const known = this.#buckets.get(key)
    if (known) {
      known.capacity = capacity
      this.#refill(known)
      return known
    }
    const saved = subject.isStored ? store.read(subject.name, name) : undefined
    const [at, savedMs] = [clock.now(), saved ? Math.max(0, clock.date() - saved.at) : 0]
    const level = saved ? filledLevel(saved.level, savedMs, capacity) : capacity
    const { isStored } = subject
    const fresh = { tenant: subject.name, name, capacity, level, at, isStored }
    const synced = { syncedAt: at - savedMs, savedAt: saved?.at }
    const bucket: SavedBucket = { ...fresh, ...synced, spent: 0, owed: 0 }
    this.#buckets.set(key, bucket)
    if (subject.kind === 'address' && level < 0)
      this.#owe(bucket, -level, `${name}/${subject.tenant}`)
    return bucket
  }

  #refill(bucket: Bucket): void {
    const due = refill(bucket, this.#parts.clock.now())
    if (due === 0) return
    const creditor = this.#buckets.get(this.#debtors.get(bucket) ?? '')
    if (creditor) subtract(creditor, due)
    if (bucket.owed === 0) this.#debtors.delete(bucket)
  }

  #owe(bucket: Bucket, amount: number, creditor: string): void {
    bucket.owed += amount
    this.#debtors.set(bucket, creditor)
  }

  /** Charges tenants for the debts that their visitors have paid since. */
  #settle(): void {
    for (const bucket of this.#debtors.keys()) this.#refill(bucket)
  }

  #assertPlace(subject: QuotaSubject): void {
    const { concurrency } = this.#ceilingsOf(subject)
    if (concurrency === undefined || (this.#running.get(subject.name) ?? 0) < concurrency) return
    throw over('concurrency', placeRetryMs, subject)
  }

  #enter(name: string): void {
    this.#running.set(name, (this.#running.get(name) ?? 0) + 1)
  }

  #leave(name: string): void {
    const running = this.#running.get(name)! - 1
    if (running > 0) this.#running.set(name, running)
    else this.#running.delete(name)
  }

  #spend(subjects: readonly QuotaSubject[], amounts: Amounts): void {
    let mine = amounts
    for (const subject of subjects) mine = this.#charge(subject, mine)
  }

  #writeLast(): void {
    if (this.#isStoreClosed) return
    this.#write()
    this.#isStoreClosed = this.#open === 0
    if (this.#isStoreClosed) this.#parts.store.close()
  }

  #writeSoon(): void {
    if (this.#timer || this.#closed) return
    this.#timer = this.#parts.clock.after(writeAfterMs, () => {
      this.#timer = undefined
      this.#write()
    })
    this.#timer.unref?.()
  }

  /** Charges a subject; returns the amounts for the next one: from an address, at most its own level. */
  #charge(subject: QuotaSubject, amounts: Amounts): Amounts {
    const next = { ...amounts }
    const buckets = this.#bucketsOf(subject)
    if (buckets.length > 0) this.#writeSoon()
    for (const bucket of buckets) {
      const { name, level } = bucket
      const amount = amounts[name] ?? 0
      subtract(bucket, amount)
      if (subject.kind !== 'address') continue
      next[name] = Math.min(amount, Math.max(0, level))
      const beyond = Math.max(0, -bucket.level) - Math.max(0, -level)
      if (beyond > 0) this.#owe(bucket, beyond, `${name}/${subject.tenant}`)
    }
    return next
  }

  /** A failed write is retried with the next one; levels in memory stay authoritative until then. */
  #write(): void {
    const { store, clock } = this.#parts
    for (const bucket of this.#buckets.values()) if (!bucket.isStored) bucket.spent = 0
    const spent = [...this.#buckets.values()].filter((bucket) => bucket.spent > 0)
    if (spent.length > 0) {
      for (const bucket of spent) this.#refill(bucket)
      const [date, now] = [Math.round(clock.date()), clock.now()]
      // The wall clock may be set in between: it only tells how old a row of another server is, at most as old as the own one.
      const next = (level: number, at: number, bucket: SavedBucket) => {
        const { capacity, savedAt, spent: amount } = bucket
        const ownMs = now - bucket.syncedAt
        const ms = at === savedAt ? ownMs : Math.min(date - at, ownMs)
        return bounded(filledLevel(level, ms, capacity) - amount, capacity)
      }
      try {
        const levels = store.spend(spent, date, next)
        for (const [index, bucket] of spent.entries()) {
          const synced = { at: now, syncedAt: now, savedAt: date }
          Object.assign(bucket, { level: levels[index], ...synced, spent: 0 })
        }
      } catch {
        return
      }
    }
    if (clock.now() >= this.#sweptAt + sweepAfterMs) this.#sweep()
  }

  /** Forgets the visitors whose quotas are full again, in memory and in the store. */
  #sweep(): void {
    const { store, clock } = this.#parts
    this.#sweptAt = clock.now()
    const gone = this.#visitors.sweep(clock.now())
    const buckets = gone.flatMap(({ name }) =>
      bucketNames.flatMap((bucket) => this.#buckets.get(`${bucket}/${name}`) ?? []),
    )
    for (const { name, tenant } of buckets) this.#buckets.delete(`${name}/${tenant}`)
    try {
      store.forget(
        buckets.filter(({ isStored }) => isStored),
        Math.round(clock.date()),
      )
    } catch {
      // The row is harmless: a full bucket is read back as a full bucket.
    }
  }

  #isIdle({ name }: QuotaSubject): boolean {
    if (this.#running.has(name)) return false
    return bucketNames.every((bucketName) => {
      const bucket = this.#buckets.get(`${bucketName}/${name}`)
      if (!bucket) return true
      const { level, at, capacity, spent, owed } = bucket
      const now = this.#parts.clock.now()
      return spent === 0 && owed === 0 && filledLevel(level, now - at, capacity) >= capacity
    })
  }
}

/** Ceilings of one address within those of all visitors. */
function withinShare(own: QuotaCeilings, all: QuotaCeilings): QuotaCeilings {
  const share = (name: 'concurrency' | BucketName, least: number) => {
    const ceilings = [own[name], all[name] && Math.max(least, all[name] * addressShare)]
    return Math.min(...ceilings.map((ceiling) => ceiling ?? Infinity))
  }
  const shares = {
    concurrency: Math.floor(share('concurrency', 1)),
    runs_per_minute: share('runs_per_minute', 1),
    cpu_seconds_per_minute: share('cpu_seconds_per_minute', 0),
    bytes_per_minute: share('bytes_per_minute', 1),
  }
  return Object.fromEntries(Object.entries(shares).filter(([, ceiling]) => ceiling !== Infinity))
}

function assertLeft(subject: QuotaSubject, buckets: readonly Bucket[]): void {
  const waits = buckets.map((bucket) => ({ bucket, ms: waitOf(bucket) }))
  const [longest] = waits.toSorted((a, b) => b.ms - a.ms)
  if (longest && longest.ms > 0) throw over(longest.bucket.name, longest.ms, subject)
}

function over(limit: string, retryAfterMs: number, { kind }: QuotaSubject): MayflyError {
  const whose = whoseOf[kind]
  return new MayflyError(
    'RATE_LIMITED',
    `Cannot accept another job now: quota "${limit}"${whose && ` of this ${whose}`} is used up`,
    { details: { limit, ...(whose && { of: whose }) }, retryAfterMs },
  )
}

const whoseOf = { tenant: '', token: 'page', address: 'address' } as const
