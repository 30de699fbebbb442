import {
  artifactsCeiling,
  type Config,
  isProduction,
  type Override,
  overrideSchema,
  weakerRisks,
} from '../contract/config.ts'
import { allControls, isWithin, type NetworkControl, unlimited } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import { strengthOf, type TierName } from '../contract/tier.ts'
import { deepFreeze } from '../lib/deep-freeze.ts'
import { present } from '../lib/present.ts'

export interface OverrideOptions {
  /** True if the caller may widen; otherwise only narrower values are accepted. */
  readonly allowWidening?: boolean
  /** True if the default provider of `next` is weaker than that of `now`; by default each change of it counts as that. */
  readonly prefersWeaker?: PrefersWeaker
}

type PrefersWeaker = (now: Config, next: Config) => boolean

/**
 * Returns a configuration with an override applied; the given one is not changed. Throws MayflyError INVALID for a malformed
 * override, and FORBIDDEN with `details.widens` if it widens without `allowWidening`.
 */
export function overrideConfig(
  config: Config,
  patch: unknown,
  { allowWidening = false, prefersWeaker }: OverrideOptions = {},
): Config {
  const override = readOverride(patch, config)
  const next = apply(config, override)
  const widens = widenings(config, next, prefersWeaker)
  if (widens.length === 0 || allowWidening) return next
  throw new MayflyError(
    'FORBIDDEN',
    `Cannot override the configuration: "${widens[0]}" would be wider`,
    { details: { widens }, hint: 'Widening needs the scope "config:widen"' },
  )
}

function readOverride(patch: unknown, config: Config): Override {
  const parsed = overrideSchema.safeParse(patch)
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => ({
      key: path.join('.'),
      message,
    }))
    throw invalid(`${issues[0]?.key || 'body'}: ${issues[0]?.message}`, { issues })
  }
  for (const name of Object.keys(parsed.data.tenants ?? {}))
    if (!config.tenants.some((tenant) => tenant.name === name))
      throw invalid(`there is no tenant "${name}"`)
  if (parsed.data.default_provider === 'mock' && isProduction(config))
    throw invalid('"mock" is refused in production')
  return parsed.data
}

function apply(config: Config, override: Override): Config {
  const { limits = {}, ceilings = {}, sessions = {}, tenants = {}, ...whole } = override
  return deepFreeze({
    ...config,
    ...present(whole),
    ...(whole.escalation && { hasDefaultEscalation: false }),
    limits: { ...config.limits, ...present(limits) },
    ceilings: { ...config.ceilings, ...present(ceilings) },
    sessions: {
      ...config.sessions,
      ...present(sessions),
      address: { ...config.sessions.address, ...present(sessions.address ?? {}) },
    },
    tenants: config.tenants.map((tenant) => {
      const own = Object.hasOwn(tenants, tenant.name) ? tenants[tenant.name] : undefined
      return {
        ...tenant,
        ...present({ floor: own?.floor }),
        ceilings: { ...tenant.ceilings, ...present(own?.ceilings ?? {}) },
      }
    }),
  })
}

/** Lists the fields in which `next` grants more than `now`, in a fixed order. */
export function widenings(
  now: Config,
  next: Config,
  prefersWeaker: PrefersWeaker = () => true,
): readonly string[] {
  const isOther = next.default_provider !== now.default_provider
  return [
    ...(isOther && prefersWeaker(now, next) ? ['default_provider'] : []),
    ...(isWiderNetwork(next.network, now.network) ? ['network'] : []),
    ...(weakerRisks(next.escalation, now.escalation).length > 0 ? ['escalation'] : []),
    ...raised(now.limits, next.limits).map((name) => `limits.${name}`),
    ...raised(ceilingsOf(now), ceilingsOf(next)).map((name) => `ceilings.${name}`),
    ...(anonymousRank(next) > anonymousRank(now) ? ['sessions.anonymous'] : []),
    ...raised(now.sessions, next.sessions).map((name) => `sessions.${name}`),
    ...raised(now.sessions.address, next.sessions.address).map(
      (name) => `sessions.address.${name}`,
    ),
    ...now.tenants.flatMap((before, index) => tenantWidenings(before, next.tenants[index]!)),
  ]
}

/** Ceilings in force: that of artifacts has a default. */
function ceilingsOf(config: Config): Bounds {
  return { ...config.ceilings, artifacts: artifactsCeiling(config) }
}

function tenantWidenings(
  before: Config['tenants'][number],
  after: Config['tenants'][number],
): readonly string[] {
  const floor = strengthAt(after.floor) < strengthAt(before.floor) ? ['floor'] : []
  const ceilings = raised(before.ceilings, after.ceilings).map((name) => `ceilings.${name}`)
  return [...floor, ...ceilings].map((field) => `tenants.${before.name}.${field}`)
}

type Bounds = Readonly<Record<string, unknown>>

/** A missing bound means unbounded. */
function raised(before: Bounds, after: Bounds): readonly string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  return names.filter((name) => {
    if (name === 'network')
      return isWiderNetwork(
        after[name] as NetworkControl,
        (before[name] ?? 'open') as NetworkControl,
      )
    if (name === 'anonymous' || name === 'address') return false
    return Number(after[name] ?? unlimited) > Number(before[name] ?? unlimited)
  })
}

function isWiderNetwork(
  network: NetworkControl | undefined,
  than: NetworkControl | 'open',
): boolean {
  if (than === 'open') return false
  return !isWithin(
    { ...allControls, network: network ?? allControls.network },
    { ...allControls, network: than },
  )
}

function strengthAt(floor: TierName | undefined): number {
  return floor ? strengthOf[floor] : 0
}

/** Order of `sessions.anonymous`: off, on loopback only (the default), on. */
function anonymousRank({ sessions }: Config): number {
  if (sessions.anonymous === undefined) return 1
  return sessions.anonymous ? 2 : 0
}

function invalid(because: string, details?: unknown): MayflyError {
  return new MayflyError('INVALID', `Cannot override the configuration: ${because}`, { details })
}
