import type { Config, Tenant } from '../contract/config.ts'
import {
  canonicalControls,
  type Controls,
  grantsFiles,
  grantsNetwork,
  noFiles,
} from '../contract/controls.ts'
import { callable, hostCall, type Job, type Language } from '../contract/job.ts'
import type { Schedule } from '../contract/phase.ts'
import type { FieldReason, Profile } from '../contract/profile.ts'
import type { Ability } from '../contract/provider.ts'
import type { Plan } from '../contract/pipeline.ts'
import type { TierName } from '../contract/tier.ts'
import { trustOf, type Verdict } from '../contract/verdict.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { deepFreeze } from '../lib/deep-freeze.ts'
import { sha256 } from '../lib/hash.ts'
import { requiredControls, capabilityTermsFor } from './capability.ts'
import { chooseSchedule } from './choose-schedule.ts'
import {
  canCapture,
  isRealm,
  chooseTier,
  type ProviderFacts,
  type FloorRaise,
  type TierChoice,
} from './choose-tier.ts'
import { limitsFor, type ProfileLimits } from './limits.ts'
import { explainNetwork, explainPrivate, networkFor, privateHostsFor } from './network.ts'
import type { ImageAnswer, ImageAnswers } from '../contract/image-reference.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import { PlanMemo } from './plan-memo.ts'
import { explainProgramInputs } from './program-inputs.ts'
import { restrainLimits, restraintRisk } from './restrain-limits.ts'
import { closedIn, explainSchedule, limitsAtStart, scheduleFor } from './schedule.ts'
import { sessionStartError } from './session-start.ts'

export interface ProfilerParts {
  /** Configuration in force; a function if it can change at run time. */
  readonly config: Config | (() => Config)
  /** Current facts of each provider. */
  readonly providers: () => readonly ProviderFacts[]
  /** Floor raised by earlier runs of this code. */
  readonly raised?: ((job: Job, verdict: Verdict) => FloorRaise | undefined) | undefined
  /** Image lookups of a job, by image name. */
  readonly images?: ((job: Job) => ImageAnswers | undefined) | undefined
}

export type Profiler = (job: Job, verdict: Verdict) => Plan

/**
 * Creates the function from job and verdict to plan, with a reason for every field. Deterministic: equal inputs give
 * equal bytes. Throws MayflyError INVALID for an unknown schedule.
 */
export function createProfiler({
  config,
  providers,
  raised,
  images: imagesOf,
}: ProfilerParts): Profiler {
  const memo = new PlanMemo()
  return (job, verdict) => {
    const now = typeof config === 'function' ? config() : config
    const facts = providers()
    const floor = raised?.(job, verdict)
    const images = imagesOf?.(job)
    const context = { config: now, facts, ...(images && { images }) }
    if (floor) return makePlan(job, verdict, { ...context, raised: floor })
    return memo.plan({ job, verdict, ...context }, () => makePlan(job, verdict, context))
  }
}

interface PlanContext {
  readonly config: Config
  readonly facts: readonly ProviderFacts[]
  readonly raised?: FloorRaise
  readonly images?: ImageAnswers
}

/** Uncached, pure; the result is deeply frozen. */
export function makePlan(job: Job, verdict: Verdict, context: PlanContext): Plan {
  const { config, facts, raised } = context
  const { asked } = job
  const surroundings = explainProgramInputs(asked, verdict)
  const { choice, chosen, terms, network, privateHosts, controls, schedule, trust, ...limited } =
    chosenWall(job, verdict, { config, facts, ...(raised && { raised }) })
  const { limits, limitsExplained } = limited
  const image = imageFor(asked.image, choice, context.images)
  const described = {
    format: 1,
    provider: choice.provider,
    tier: choice.tier,
    floor: choice.floor,
    image: image.value,
    language: verdict.language,
    entry: verdict.entry,
    tenant: job.tenant,
    ...(job.capability !== undefined && { capability: job.capability }),
    ...(job.packages?.length && { packages: structuredClone(job.packages) }),
    controls,
    ...(privateHosts.length > 0 && { privateHosts }),
    schedule,
    limits,
    // Copied, since the caller may still modify the schema.
    output: structuredClone(asked.output),
    capture: asked.capture,
  } as const
  const profile: Profile = {
    ...described,
    digest: `sha256:${sha256(canonicalJson(described))}`,
    explain: [
      { field: 'format', value: 1, because: 'the only format' },
      ...choice.explain,
      { field: 'image', value: image.value, because: image.because },
      ...explainSource(job, verdict),
      ...explainPackages(job),
      explainNetwork(network),
      ...explainPrivate(privateHosts),
      ...explainControls(controls, terms?.files && `${terms.where}.fs_policy`),
      ...explainSchedule(schedule, controls, chosen, trust),
      ...limitsExplained,
      ...explainAsked(
        job,
        facts.find(({ name }) => name === choice.provider),
        verdict,
      ),
      ...surroundings,
    ],
  }
  const { standsIn, fallsShort } = choice
  const end = choice.end ?? image.end ?? sessionEnd(job, profile, facts)
  return deepFreeze(
    end
      ? { ...end, profile }
      : { kind: 'run', profile, ...(standsIn && { standsIn }), ...(fallsShort && { fallsShort }) },
  )
}

/** Error of a session that its wall cannot start; only walls that close system calls have this case. */
function sessionEnd(job: Job, profile: Profile, facts: readonly ProviderFacts[]) {
  const taken = facts.find(({ name }) => name === profile.provider)
  if (!taken?.enforces?.includes('syscalls')) return undefined
  const error = sessionStartError(job, profile.language, profile.schedule)
  return error && ({ kind: 'unavailable', error } as const)
}

/** Collects the inputs of the tier choice, and chooses. */
function chosenWall(job: Job, verdict: Verdict, { config, facts, raised }: PlanContext) {
  const { asked } = job
  const tenant = tenantOf(config, job.tenant)
  const chosen = chooseSchedule(job, config)
  const terms = capabilityTermsFor(job, config)
  const isSession = job.session?.kind === 'open'
  const { language } = verdict
  const asAsked = limitsFor(asked.limits, config, tenant, { ...chosen, terms, isSession, language })
  const trust = trustOf(verdict)
  const restrained = restrainLimits(asAsked, config, restraintRisk(verdict))
  const {
    limits,
    io,
    explain: limitsExplained,
    ...first
  } = limitsAtStart(restrained, chosen, trust)
  const network = networkFor(asked.network, config, tenant, terms)
  const privateHosts = privateHostsFor(network.value, config, tenant, terms)
  const files = terms?.files ?? noFiles
  const grants = { network: network.value, files, capabilities: asked.capabilities }
  const controls = controlsOf({ ...limits, io }, grants)
  const schedule = scheduleFor({ chosen, granted: controls, timeoutMs: limits.timeout, trust })
  const abilities = abilitiesFor(job, verdict, { controls, schedule, limits })
  const holds = [...requiredControls(terms, limits), ...first.holds]
  // The wall of an exec is that of its session, which was chosen for this schedule.
  const closes = job.session?.kind === 'exec' ? [] : closedIn(schedule.phases, controls)
  const captures = asked.capture
  const wanted = { config, tenant, asked, verdict, abilities, holds, closes, captures, raised }
  const choice = chooseTier(wanted, facts)
  const granted = { chosen, terms, network, privateHosts, controls }
  return { choice, ...granted, schedule, trust, limits, limitsExplained }
}

/** Programs use the host's /usr; all other walls use files that ship with Mayfly. */
function imageOf(tier: TierName): string {
  return tier === 'process' ? 'host' : 'builtin'
}

/**
 * Digest of the requested image, or of the default image of the wall; an `unavailable` end if the image was refused. A
 * default image that was not looked up is given by its tag, from which no wall starts.
 */
function imageFor(
  asked: string | undefined,
  { provider, tier, image: own }: Pick<TierChoice, 'provider' | 'tier' | 'image'>,
  images: ImageAnswers = new Map(),
): {
  readonly value: string
  readonly because: string
  readonly end?: { readonly kind: 'unavailable'; readonly error: OutcomeError }
} {
  const name = asked ?? own
  if (name === undefined && provider === 'none') return { value: 'none', because: 'no wall' }
  if (name === undefined) return { value: imageOf(tier), because: `tier "${tier}"` }
  const why = asked === undefined ? `"${name}" of tier "${tier}"` : `asked "${name}"`
  const image = images.get(name) ?? (asked === undefined ? undefined : notLookedUp)
  if (!image) return { value: name, because: `${why}; not looked up` }
  if (image.kind === 'admitted') {
    const because = image.scanned === '' ? why : `${why}; ${image.scanned}`
    return { value: `sha256:${image.digest}`, because }
  }
  const { error } = image
  return { value: name, because: error.message, end: { kind: 'unavailable', error } }
}

const notLookedUp: ImageAnswer = {
  kind: 'refused',
  error: { code: 'IMAGE_REFUSED', message: 'Cannot use an image here: its lookup is missing' },
}

/** Tenants known only by a key have the settings of the default tenant. */
export function tenantOf({ tenants }: Config, name: string): Tenant {
  return tenants.find((tenant) => tenant.name === name) ?? tenants[0]!
}

/** Abilities that the wall needs besides running the language. */
function abilitiesFor(
  { asked, packages = [], session }: Job,
  { language }: Pick<Verdict, 'language'>,
  { controls, schedule, limits }: Pick<Profile, 'controls' | 'schedule' | 'limits'>,
): readonly Ability[] {
  const isInRealm = language === 'js' || language === 'ts'
  const needs: readonly (readonly [isNeeded: boolean, ability: Ability])[] = [
    [grantsNetwork(controls.network), 'network'],
    [asked.capabilities.some(isCalled), isInRealm ? 'calls' : 'program-calls'],
    [grantsFiles(controls.files), isInRealm ? 'folder-calls' : 'folders'],
    [asked.files.length > 0, 'files'],
    [packages.length > 0, isInRealm ? 'realm-packages' : 'packages'],
    [asked.image !== undefined, isInRealm ? 'realm-image' : 'image'],
    [asked.calls !== undefined, 'batch'],
    [session?.kind === 'open', isInRealm ? 'realm-session' : 'session'],
    [asked.trace, isInRealm ? 'trace' : 'program-trace'],
    [splitsPrograms(schedule, language), 'program-zones'],
    [limits.instructions !== undefined, 'instructions'],
  ]
  return needs.flatMap(([isNeeded, ability]) => (isNeeded ? [ability] : []))
}

/** True if the schedule has zones of programs, and the code may execute programs: a wall without them would drop a bound. */
function splitsPrograms({ zones = {} }: Schedule, language: Language): boolean {
  const executes = language !== 'js' && language !== 'ts' && language !== 'wasm'
  return executes && Object.values(zones).some(({ programs }) => programs !== undefined)
}

/** True for a capability that is answered outside the wall. */
function isCalled(capability: string): boolean {
  return capability === hostCall || callable.some((name) => name === capability)
}

/** Grants only what was requested and permitted; system calls are left to the wall's own filter. */
function controlsOf(
  limits: ProfileLimits & Pick<Controls, 'io'>,
  { network, files, capabilities }: Pick<Controls, 'network' | 'files' | 'capabilities'>,
): Controls {
  const { cpu, memory, io, processes } = limits
  const amounts = { cpu, memory, io, processes }
  return canonicalControls({ network, files, ...amounts, syscalls: 'any', capabilities })
}

function explainSource(
  { asked, tenant }: Job,
  { language, entry }: Verdict,
): readonly FieldReason[] {
  return [
    { field: 'language', value: language, because: asked.language ? 'asked' : 'analysis' },
    { field: 'entry', value: entry, because: asked.entry === 'auto' ? 'analysis' : 'asked' },
    { field: 'tenant', value: tenant, because: 'the caller' },
  ]
}

function explainPackages({ packages = [] }: Job): readonly FieldReason[] {
  if (packages.length === 0) return []
  const value = packages.map(({ kind, files, bytes }) => `${kind}: ${files} files, ${bytes} bytes`)
  return [{ field: 'packages', value, because: 'asked; mounted read-only' }]
}

function explainControls(
  { cpu, memory, processes, capabilities, files }: Controls,
  filesBecause = 'default',
): readonly FieldReason[] {
  const granted = capabilities.length > 0
  const folders = grantsFiles(files) ? files : 'none'
  return [
    { field: 'controls.files', value: folders, because: filesBecause },
    { field: 'controls.cpu', value: cpu, because: 'limits.cpu' },
    { field: 'controls.memory', value: memory, because: 'limits.memory' },
    { field: 'controls.processes', value: processes, because: 'limits.processes' },
    { field: 'controls.syscalls', value: 'any', because: 'default: the wall has its own filter' },
    {
      field: 'controls.capabilities',
      value: granted ? capabilities : 'none',
      because: granted ? 'asked' : 'default',
    },
  ]
}

function explainAsked(
  { asked: { output, capture } }: Job,
  taken: ProviderFacts | undefined,
  { language }: Pick<Verdict, 'language'>,
): readonly FieldReason[] {
  const schema = output.schema === undefined ? ['none', 'default'] : ['given', 'asked']
  return [
    { field: 'output.schema', value: schema[0], because: schema[1]! },
    {
      field: 'output.gate',
      value: output.gate,
      because: output.gate === 'stream' ? 'default' : 'asked',
    },
    {
      field: 'capture',
      value: capture,
      because: capture ? explainCapture(taken, language) : 'default',
    },
  ]
}

function explainCapture(taken: ProviderFacts | undefined, language: Language): string {
  if (isRealm(language)) return `asked, but code of "${language}" is not captured: "node" is`
  if (!taken || canCapture(taken)) return 'asked'
  return `asked, but provider "${taken.name}" makes none`
}
