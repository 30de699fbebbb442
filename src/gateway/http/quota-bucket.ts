import type { Tenant } from '../../contract/config.ts'

export type QuotaCeilings = Pick<Tenant['ceilings'], 'concurrency' | BucketName>

/** Configuration names, and bucket units in one configured unit. */
export const unitOf = {
  runs_per_minute: 1,
  cpu_seconds_per_minute: 1000,
  bytes_per_minute: 1,
} as const
export type BucketName = keyof typeof unitOf
export const bucketNames = Object.keys(unitOf) as readonly BucketName[]

const MINUTE_MS = 60_000
/** Largest debt of a bucket, in minutes of its refilling. */
const debtMinutesMax = 60
/** Time after which every bucket is full again, whatever its debt. */
export const healedMs = (debtMinutesMax + 1) * MINUTE_MS

/** Token bucket of one quota and subject, which refills evenly and holds one minute. */
export interface Bucket {
  /** Name of the subject: a tenant, or a part of one. */
  readonly tenant: string
  readonly name: BucketName
  capacity: number
  level: number
  at: number
  /** Monotonic time for which the store had its level: no row of it is older. */
  syncedAt: number
  /** Spent since the last write to the store. */
  spent: number
  /** Amount spent beyond the level and not yet charged to the bucket of the tenant; charged as this bucket refills. */
  owed: number
  /** True if the level survives a restart. */
  readonly isStored: boolean
}

/** Refills a bucket up to `now`. Returns the amount now due to the bucket of its tenant. */
export function refill(bucket: Bucket, now: number): number {
  const gained = gain(now - bucket.at, bucket.capacity)
  const due = Math.min(bucket.owed, gained)
  bucket.owed -= due
  bucket.level = bounded(bounded(bucket.level, bucket.capacity) + gained, bucket.capacity)
  bucket.at = now
  return due
}

/** Subtracts an amount, within the largest debt. */
export function subtract(bucket: Bucket, amount: number): void {
  bucket.level = bounded(bucket.level - amount, bucket.capacity)
  bucket.spent += Math.min(amount, 2 * debtMinutesMax * bucket.capacity)
}

/** Level of a bucket `ms` milliseconds after it had `level`. */
export function filledLevel(level: number, ms: number, capacity: number): number {
  return bounded(bounded(level, capacity) + gain(ms, capacity), capacity)
}

/** Clamps a level between the largest debt and a full bucket; NaN counts as the largest debt (fail closed). */
export function bounded(level: number, capacity: number): number {
  const least = -debtMinutesMax * capacity
  return level > least ? Math.min(capacity, level) : least
}

/** Milliseconds until a job may start by this bucket: at one whole job, or any positive amount of the other units. */
export function waitOf(bucket: Bucket): number {
  const least = bucket.name === 'runs_per_minute' ? 1 : Math.min(1, bucket.capacity)
  return msUntil(bucket, least)
}

export function msUntil(
  { level, capacity }: Pick<Bucket, 'level' | 'capacity'>,
  wanted: number,
): number {
  return Math.max(0, Math.ceil(((wanted - level) * MINUTE_MS) / capacity))
}

/** `RateLimit-*` headers carry integers only. */
export function inWhole(name: BucketName, capacity: number): number {
  return Math.ceil(capacity / unitOf[name])
}

function gain(ms: number, capacity: number): number {
  return (Math.max(0, ms) * capacity) / MINUTE_MS
}
