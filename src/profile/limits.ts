import { artifactsCeiling, type Config, configSchema, type Tenant } from '../contract/config.ts'
import type { Language, Limits } from '../contract/job.ts'
import type { FieldReason, Profile } from '../contract/profile.ts'
import { configKeyOf, type CapabilityTerms } from './capability.ts'
import type { ChosenSchedule } from './choose-schedule.ts'

export type ProfileLimits = Profile['limits']

const askable = ['timeout', 'memory', 'cpu', 'processes', 'disk', 'output', 'artifacts'] as const
const configured = ['result'] as const
const builtIn: Config['limits'] = configSchema.shape.limits.parse({})

/**
 * Limits of the job, else of the capability, else of the configuration, capped by all ceilings, each with its reason.
 * Without a requested timeout a life is as long as its schedule.
 */
export function limitsFor(
  asked: Limits,
  config: Config,
  tenant: Tenant,
  {
    lifeMs,
    because,
    terms,
    isSession = false,
    language,
  }: Pick<ChosenSchedule, 'lifeMs' | 'because'> & {
    readonly terms?: CapabilityTerms | undefined
    /** True for a session: its life is bounded as a whole, and each of its execs by the timeout. */
    readonly isSession?: boolean
    readonly language?: Language
  },
): { readonly limits: ProfileLimits; readonly explain: readonly FieldReason[] } {
  const life = lifeMs === undefined ? undefined : { value: lifeMs, because }
  const rows = [
    ...askable.map((name) => {
      if (name === 'timeout' && isSession) return { name, ...sessionLife(life, config) }
      const unasked = (name === 'timeout' && life) || own(name, config)
      return { name, ...bounded(name, { asked, unasked, terms }, config, tenant) }
    }),
    ...configured.map((name) => ({ name, ...own(name, config) })),
    ...optionalLimits(asked, config, tenant, { isSession, language }),
  ]
  return {
    limits: Object.fromEntries(rows.map(({ name, value }) => [name, value])) as ProfileLimits,
    explain: rows.map(({ name, value, because }) => ({ field: `limits.${name}`, value, because })),
  }
}

/** Limits without a default: left out, nothing is counted. Key in a job, and in a configuration. */
const optional = { cpuTime: 'cpu_time', instructions: 'instructions' } as const
type OptionalLimit = keyof typeof optional

/**
 * Configured limits of instructions apply to WebAssembly modules only; a job in another language that requests one is refused, because
 * no wall counts there. The processor time of a session is limited if its opening says so; a configured one is of each exec.
 */
function optionalLimits(
  asked: Limits,
  config: Config,
  tenant: Tenant,
  { isSession, language }: { readonly isSession: boolean; readonly language: Language | undefined },
): readonly (Bounded & { readonly name: OptionalLimit })[] {
  const isWished = (name: OptionalLimit) =>
    asked[name] !== undefined || (name === 'cpuTime' ? !isSession : language === 'wasm')
  return (['cpuTime', 'instructions'] as const)
    .filter(isWished)
    .flatMap((name) => optionalLimit(name, asked, config, tenant))
}

function optionalLimit(
  name: OptionalLimit,
  asked: Limits,
  { limits, ceilings }: Config,
  tenant: Tenant,
): readonly (Bounded & { readonly name: OptionalLimit })[] {
  const key = optional[name]
  const { value = Infinity, because } = lowest([
    asked[name] === undefined
      ? { value: limits[key], because: `limits.${key}` }
      : { value: asked[name], because: 'asked' },
    { value: ceilings[key], because: `ceilings.${key}` },
    ceilingOfTenant(key, tenant),
  ])
  return value === Infinity ? [] : [{ name, value, because }]
}

/** Length of the schedule, at most the lifetime of a sandbox. */
function sessionLife(life: Bounded | undefined, { sandboxes }: Config): Bounded {
  const longest = { value: sandboxes.lifetime, because: 'sandboxes.lifetime' }
  return life && life.value < longest.value ? life : longest
}

interface Bounded {
  readonly value: number
  readonly because: string
}

function bounded(
  name: (typeof askable)[number],
  { asked, unasked, terms }: Wishes,
  config: Config,
  tenant: Tenant,
): Bounded {
  const wish = asked[name]
  const called = terms && calledFor(name, terms)
  const start = wish === undefined ? (called ?? unasked) : { value: wish, because: 'asked' }
  const { value = start.value, because } = lowest([
    start,
    ...(called ? [called] : []),
    { value: ceilingOf(name, config), because: `ceilings.${name}` },
    ceilingOfTenant(name, tenant),
  ])
  return { value, because }
}

/** A bound that may not be set. */
type MaybeBounded = Pick<Bounded, 'because'> & { readonly value: number | undefined }

/** The first of the lowest. */
function lowest(bounds: readonly MaybeBounded[]): MaybeBounded {
  return bounds.reduce((now, next) =>
    (next.value ?? Infinity) < (now.value ?? Infinity) ? next : now,
  )
}

function ceilingOfTenant(
  name: (typeof askable)[number] | (typeof optional)[OptionalLimit],
  { name: tenant, ceilings }: Tenant,
): MaybeBounded {
  return { value: ceilings[name], because: `tenants.${tenant}.ceilings.${name}` }
}

function ceilingOf(name: (typeof askable)[number], config: Config): number | undefined {
  return name === 'artifacts' ? artifactsCeiling(config) : config.ceilings[name]
}

interface Wishes {
  readonly asked: Limits
  readonly unasked: Bounded
  readonly terms: CapabilityTerms | undefined
}

/** The limit of a capability is both default and maximum of its calls. */
function calledFor(
  name: (typeof askable)[number],
  { limits, where }: CapabilityTerms,
): Bounded | undefined {
  if (name !== 'timeout' && name !== 'memory' && name !== 'cpu') return undefined
  const value = limits[name]
  return value === undefined ? undefined : { value, because: `${where}.${configKeyOf[name]}` }
}

function own(name: Exclude<keyof ProfileLimits, OptionalLimit>, { limits }: Config): Bounded {
  const value = limits[name]
  return { value, because: value === builtIn[name] ? 'default' : `limits.${name}` }
}
