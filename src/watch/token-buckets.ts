/**
 * Rate limit by token buckets in two levels: one per tenant, and one per code within it, so that neither a tenant nor one of its
 * codes exhausts the rate of others. Pure and bounded: codes beyond the limit share one bucket. Time is in
 * milliseconds and monotonic.
 */
export type TokenBuckets = ReadonlyMap<string, Tenant>

interface Tenant {
  readonly all: Bucket
  readonly codes: ReadonlyMap<string, Bucket>
}

interface Bucket {
  readonly tokens: number
  readonly at: number
}

export interface BucketRate {
  /** Bucket size, and refill time of one token. */
  readonly burst: number
  readonly everyMs: number
}

export interface BucketRates {
  readonly tenant: BucketRate
  readonly code: BucketRate
}

const codesMax = 256
/** Shared bucket of codes beyond the limit. */
const others = ''

export const fullBuckets: TokenBuckets = new Map()

/** Takes one token from both buckets, or from neither. */
export function takeToken(
  allowance: TokenBuckets,
  who: { readonly tenant: string; readonly code: string },
  rates: BucketRates,
  at: number,
): { readonly allowance: TokenBuckets; readonly taken: boolean } {
  const tenant = allowance.get(who.tenant)
  const codes = fullLeftOut(tenant?.codes ?? new Map<string, Bucket>(), rates.code, at)
  const name = codes.has(who.code) || codes.size < codesMax ? who.code : others
  const all = filled(tenant?.all, rates.tenant, at)
  const own = filled(codes.get(name), rates.code, at)
  const taken = all.tokens >= 1 && own.tokens >= 1
  if (!taken) return { allowance, taken }
  const next: Tenant = { all: spent(all), codes: new Map([...codes, [name, spent(own)]]) }
  return { allowance: new Map([...allowance, [who.tenant, next]]), taken }
}

function filled(bucket: Bucket | undefined, { burst, everyMs }: BucketRate, at: number): Bucket {
  if (!bucket) return { tokens: burst, at }
  const now = Math.max(at, bucket.at)
  return { tokens: Math.min(burst, bucket.tokens + (now - bucket.at) / everyMs), at: now }
}

/** Full buckets carry no state and are dropped. */
function fullLeftOut(
  codes: ReadonlyMap<string, Bucket>,
  rate: BucketRate,
  at: number,
): ReadonlyMap<string, Bucket> {
  if (codes.size < codesMax) return codes
  return new Map([...codes].filter(([, bucket]) => filled(bucket, rate, at).tokens < rate.burst))
}

function spent({ tokens, at }: Bucket): Bucket {
  return { tokens: tokens - 1, at }
}
