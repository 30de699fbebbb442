/**
 * How often something may be done for whoever causes it: a bucket a tenant, and within it one for each code, so that
 * neither a tenant nor one bad code of it uses up what others have. Pure, and bounded: codes past the bound share
 * one bucket. Time is milliseconds; it never runs backwards here.
 */
export interface Allowance {
  readonly tenants: ReadonlyMap<string, Tenant>
}

interface Tenant {
  readonly all: Bucket
  readonly codes: ReadonlyMap<string, Bucket>
}

interface Bucket {
  readonly tokens: number
  readonly at: number
}

export interface Rate {
  /** At once, and how long one takes to come back. */
  readonly burst: number
  readonly everyMs: number
}

export interface Rates {
  readonly tenant: Rate
  readonly code: Rate
}

export const codesMax = 256
/** The bucket of codes that there is no bucket of their own for. */
const others = ''

export const noAllowance: Allowance = { tenants: new Map() }

/** Takes one, where tenant and code both still have one. */
export function take(
  allowance: Allowance,
  who: { readonly tenant: string; readonly code: string },
  rates: Rates,
  at: number,
): { readonly allowance: Allowance; readonly taken: boolean } {
  const tenant = allowance.tenants.get(who.tenant)
  const codes = fullLeftOut(tenant?.codes ?? new Map<string, Bucket>(), rates.code, at)
  const name = codes.has(who.code) || codes.size < codesMax ? who.code : others
  const all = filled(tenant?.all, rates.tenant, at)
  const own = filled(codes.get(name), rates.code, at)
  const taken = all.tokens >= 1 && own.tokens >= 1
  if (!taken) return { allowance, taken }
  const next: Tenant = { all: spent(all), codes: new Map([...codes, [name, spent(own)]]) }
  return { allowance: { tenants: new Map([...allowance.tenants, [who.tenant, next]]) }, taken }
}

function filled(bucket: Bucket | undefined, { burst, everyMs }: Rate, at: number): Bucket {
  if (!bucket) return { tokens: burst, at }
  const now = Math.max(at, bucket.at)
  return { tokens: Math.min(burst, bucket.tokens + (now - bucket.at) / everyMs), at: now }
}

/** A bucket that is full again is as one that never was. */
function fullLeftOut(
  codes: ReadonlyMap<string, Bucket>,
  rate: Rate,
  at: number,
): ReadonlyMap<string, Bucket> {
  if (codes.size < codesMax) return codes
  return new Map([...codes].filter(([, bucket]) => filled(bucket, rate, at).tokens < rate.burst))
}

function spent({ tokens, at }: Bucket): Bucket {
  return { tokens: tokens - 1, at }
}
