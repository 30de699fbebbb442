import { type Config, type EscalationStep, isProduction, type Tenant } from '../contract/config.ts'
import type { Control } from '../contract/controls.ts'
import { patternSeen } from '../contract/effect.ts'
import type { JobAsked, Language } from '../contract/job.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { FieldReason } from '../contract/profile.ts'
import type { Ability, Provider } from '../contract/provider.ts'
import type { TierSubstitute } from '../contract/pipeline.ts'
import { threatChanges } from '../contract/threat-changes.ts'
import { namedTiers, type Strength, strengthOf, type TierName } from '../contract/tier.ts'
import type { Verdict } from '../contract/verdict.ts'
import { present } from '../lib/present.ts'
import { costOf, rankWalls, type RankFacts, whyBefore } from './rank-walls.ts'

/** Facts about a provider; `strength` as proved by its probe. */
export interface ProviderFacts extends RankFacts {
  /** Reason for being unavailable. */
  readonly reason?: string
  readonly languages: readonly Language[]
  /** Undefined if the provider only runs code. */
  readonly can?: readonly Ability[]
  /** Controls it enforces. */
  readonly enforces?: readonly Control[]
  /** Controls that it closes while a guest runs. */
  readonly tightens?: readonly Control[]
  readonly isByNameAlone?: boolean
  readonly images?: Provider['images']
}

export interface TierRequest {
  readonly config: Config
  readonly tenant: Pick<Tenant, 'name' | 'floor'>
  readonly asked: Pick<JobAsked, 'tier' | 'floor' | 'provider'>
  readonly verdict: Pick<Verdict, 'language' | 'risk' | 'severity' | 'findings'>
  /** Abilities needed besides the language. */
  readonly abilities: readonly Ability[]
  /** Controls that the wall must enforce and that some walls cannot. */
  readonly holds?: readonly Control[]
  /** Controls that phases of the schedule close. */
  readonly closes?: readonly Control[]
  /** The job asks for a capture of its memory. */
  readonly captures?: boolean
  /** Floor raised by earlier runs of this code. */
  readonly raised?: FloorRaise | undefined
}

export interface FloorRaise {
  readonly strength: Strength
  readonly because: string
}

/** Chosen wall, or the reason for none; provider and tier are then the ones that would have been chosen. */
export interface TierChoice {
  readonly provider: string
  readonly tier: TierName
  readonly floor: Strength
  /** Tag of the default image of the wall. */
  readonly image?: string
  readonly explain: readonly FieldReason[]
  readonly end?: { readonly kind: 'blocked' | 'unavailable'; readonly error: OutcomeError }
  /** Set if the default escalation needs a wall that this machine lacks. */
  readonly standsIn?: TierSubstitute
  /** No wall known so far closes what the schedule closes and makes the capture; absent where a wall is named. */
  readonly fallsShort?: true
}

/**
 * Cheapest available wall that is strong enough, has the needed abilities and, if one has, closes what the schedule
 * closes and makes the capture that is asked for; never below the floor, which is the strongest of the tenant's, the job's, the
 * language's and the escalation's.
 */
export function chooseTier(wanted: TierRequest, known: readonly ProviderFacts[]): TierChoice {
  const facts = rankWalls(known)
  const blocked = blockedByScore(wanted)
  const needed = needOf(wanted, facts)
  // Walls may not be proved yet when code is blocked: a missing one says nothing about this machine.
  const need = blocked ? needed : withinReach(wanted, needed, facts)
  const judged = facts.map((fact) => ({ fact, whyNot: rejectionReason(fact, need) }))
  const usable = judged.filter(({ whyNot }) => whyNot === undefined).map(({ fact }) => fact)
  const preferred = need.preferred && usable.find(({ name }) => name === need.preferred)
  const wishes = wishesOf(wanted)
  const serving = bestServing(usable, wishes)
  const taken = need.lacking ? strongestOf(usable) : preferred || serving
  const isFree =
    !need.lacking && !preferred && need.tier === undefined && need.provider === undefined
  const fallsShort = isFree && taken !== undefined && shortfall(taken, wishes) !== undefined
  const image = taken?.images?.[need.language]
  const end = blocked ?? tooWeak(need, facts) ?? (taken ? undefined : noProvider(need, judged))
  return {
    provider: taken?.name ?? need.provider ?? 'none',
    tier: taken?.tier ?? need.tier ?? need.floor.tier,
    floor: need.floor.strength,
    ...(image !== undefined && { image }),
    explain: [
      ...explainTaken(taken, need, blocked ? 'no wall holds code that is blocked' : noneHolds),
      ...explainLacking(need),
      ...judged
        .filter(({ fact }) => fact !== taken)
        .map(({ fact, whyNot }) => ({
          field: `providers.${fact.name}`,
          value: 'not taken',
          because:
            whyNot ??
            (taken && serving === taken ? shortfall(fact, wishes, taken) : undefined) ??
            `could hold it; ${preferred ? `"${preferred.name}" is preferred` : whyBefore(taken!, fact)}`,
        })),
    ],
    ...(end && { end }),
    ...(!end &&
      taken &&
      need.lacking && {
        standsIn: { wanted: need.lacking.tier, taken: taken.tier, risk: wanted.verdict.risk },
      }),
    ...(fallsShort && { fallsShort }),
  }
}

/** A provider, with the reason why it cannot be taken. */
interface JudgedFact {
  readonly fact: ProviderFacts
  readonly whyNot: string | undefined
}

export interface TierFloor {
  readonly strength: Strength
  readonly tier: TierName
  readonly because: string
}

/** Requirements for a provider. */
interface TierNeed {
  readonly floor: TierFloor
  readonly tier?: TierName
  readonly provider?: string
  /** Preferred over cheaper ones. */
  readonly preferred?: string
  readonly language: Language
  readonly abilities: readonly Ability[]
  readonly holds: readonly Control[]
  readonly mock: boolean
  readonly production: boolean
  /** Floor of the default escalation that no wall of this machine meets. */
  readonly lacking?: TierFloor
}

/**
 * The mock runs no code, so only explicit floors apply to it. As default provider it serves jobs without such a floor,
 * if it is available.
 */
function needOf(wanted: TierRequest, facts: readonly ProviderFacts[]): TierNeed {
  const { asked, config, verdict, abilities, holds = [] } = wanted
  const said = strongest(floorsSaid(wanted))
  const chosen = asked.tier === undefined && asked.provider === undefined
  const preferred =
    chosen && config.default_provider !== 'auto' ? config.default_provider : undefined
  const production = isProduction(config)
  const mockIsHere = facts.some(({ name, available }) => name === 'mock' && available)
  const mockByDefault = preferred === 'mock' && said.strength === 0 && mockIsHere && !production
  const mock = asked.provider === 'mock' || mockByDefault
  const provider = mockByDefault ? 'mock' : asked.provider
  return {
    floor: mock ? said : strongest([said, ...floorsFound(wanted)]),
    ...(asked.tier && { tier: asked.tier }),
    ...(provider && { provider }),
    ...(preferred && { preferred }),
    language: verdict.language,
    abilities,
    holds,
    mock,
    production,
  }
}

/** Ruling of a configuration on code of this risk, before a wall is chosen. */
export interface RiskRuling {
  readonly floor: TierFloor
  /** Reason why it is blocked. */
  readonly blocked?: string
  /** Floor where no wall meets that of the default escalation. */
  readonly instead?: TierFloor
}

export function ruleByRisk(wanted: TierRequest): RiskRuling {
  const { config, verdict } = wanted
  const reached = config.escalation.findLast(({ at }) => at <= verdict.risk)
  const floor = strongest([...floorsSaid(wanted), ...floorsFound(wanted)])
  const others = [...floorsSaid(wanted), ...floorsFound(wanted, { escalated: false })]
  const because = `may stand in for "${floor.tier}" (${floor.because})`
  return {
    floor,
    ...(reached?.to === 'block' && { blocked: escalationStep(reached, verdict) }),
    ...(config.hasDefaultEscalation && {
      instead: strongest([...others, floorAt(leastStandIn, because)]),
    }),
  }
}

/** Weakest substitute for a missing wall. */
const leastStandIn = 'process'

/**
 * Adapts the need to this machine. Only the floor of the default escalation is lowered, only if no wall meets it, and
 * never below `process` or another floor; configured floors, escalations and tenant rules are kept.
 */
function withinReach(
  wanted: TierRequest,
  need: TierNeed,
  facts: readonly ProviderFacts[],
): TierNeed {
  const { config, verdict } = wanted
  const step = stepBelowBlock(config.escalation, verdict.risk)
  if (!config.hasDefaultEscalation || !step || need.mock) return need
  const lacking = floorAt(step.to, escalationStep(step, verdict))
  const others = strongest([...floorsSaid(wanted), ...floorsFound(wanted, { escalated: false })])
  if (lacking.strength <= others.strength || lacking.strength <= strengthOf[leastStandIn])
    return need
  const { tier: _tier, provider: _provider, ...named } = need
  // A bound on a part of the job is no reason for a weaker wall around the whole.
  const abilities = need.abilities.filter((ability) => ability !== 'program-zones')
  const anywhere = { ...named, abilities }
  if (facts.some((fact) => rejectionReason(fact, anywhere) === undefined)) return need
  const because = `the strongest here in place of "${lacking.tier}" (${lacking.because})`
  const floor = strongest([others, floorAt(leastStandIn, because)])
  return { ...need, floor, lacking }
}

/** Strongest usable wall; `usable` is ordered, so the first of equals wins. */
function strongestOf(usable: readonly ProviderFacts[]): ProviderFacts | undefined {
  const most = Math.max(...usable.map(({ strength }) => strength))
  return usable.find(({ strength }) => strength === most)
}

function explainLacking({ lacking }: TierNeed): readonly FieldReason[] {
  if (!lacking) return []
  const because = `${lacking.because}; no such wall is here, and the strongest that is takes the job`
  return [{ field: 'floor.wanted', value: lacking.tier, because }]
}

const noFloor: TierFloor = { strength: 0, tier: 'mock', because: 'no floor is set' }

function floorsSaid({ tenant, asked }: TierRequest): readonly TierFloor[] {
  return [
    ...(tenant.floor ? [floorAt(tenant.floor, `tenants.${tenant.name}.floor`)] : []),
    ...(asked.floor ? [floorAt(asked.floor, 'asked')] : []),
  ]
}

function floorsFound(
  { config, verdict, raised }: TierRequest,
  { escalated }: { readonly escalated: boolean } = { escalated: true },
): readonly TierFloor[] {
  const step = escalated ? stepBelowBlock(config.escalation, verdict.risk) : undefined
  return [
    floorAt('isolate', 'untrusted code needs a wall'),
    ...(raised ? [{ ...raised, tier: weakestAt(raised.strength) }] : []),
    ...(step ? [floorAt(step.to, escalationStep(step, verdict))] : []),
    ...(verdict.language === 'node' ? [floorAt('process', 'language "node"')] : []),
  ]
}

/** Weakest tier of at least this strength. */
function weakestAt(strength: Strength): TierName {
  return namedTiers.find((tier) => strengthOf[tier] >= strength) ?? 'microvm'
}

function floorAt(tier: TierName, because: string): TierFloor {
  return { strength: strengthOf[tier], tier, because }
}

/** Among equals the later wins, as its reason is more specific. */
function strongest(floors: readonly TierFloor[]): TierFloor {
  return floors.reduce((a, b) => (b.strength >= a.strength ? b : a), noFloor)
}

function escalationStep({ at }: { readonly at: number }, { risk }: TierRequest['verdict']): string {
  return `escalation.${at}, risk ${risk}`
}

function stepBelowBlock(
  steps: readonly EscalationStep[],
  risk: number,
): { readonly at: number; readonly to: TierName } | undefined {
  return steps.flatMap(({ at, to }) => (at <= risk && to !== 'block' ? [{ at, to }] : [])).at(-1)
}

function rejectionReason(fact: ProviderFacts, need: TierNeed): string | undefined {
  if (need.provider !== undefined && fact.name !== need.provider)
    return `provider "${need.provider}" is requested`
  if (fact.name === 'mock' && !need.mock) return 'the mock is selected only by name'
  if (fact.isByNameAlone && fact.name !== need.provider) return 'it is selected only by name'
  if (fact.name === 'mock' && need.production) return 'the mock is refused in production'
  if (need.tier !== undefined && fact.tier !== need.tier)
    return `it is tier "${fact.tier}", and "${need.tier}" is requested`
  if (!fact.available) return `it is not available: ${fact.reason ?? 'the reason is unknown'}`
  if (!fact.languages.includes(need.language)) return `it does not run "${need.language}"`
  if (fact.strength < need.floor.strength)
    return `its strength ${fact.strength} is below ${need.floor.strength} (${need.floor.because})`
  // The mock needs no network, folders or bounds.
  if (need.mock) return undefined
  const lacked = need.abilities.find((ability) => !fact.can?.includes(ability))
  if (lacked) return abilityTexts[lacked]?.[0] ?? `it cannot do "${lacked}"`
  const open = need.holds.find((control) => !fact.enforces?.includes(control))
  return open && (unenforced[open] ?? `it does not enforce "${open}"`)
}

/** Preferences of the job, which no wall is refused for. */
interface Wishes {
  readonly closes?: readonly Control[]
  /** True for a program that is to be captured; no wall captures a realm. */
  readonly captures?: boolean
}

function wishesOf({ closes, captures, verdict }: TierRequest): Wishes {
  return { ...present({ closes }), captures: captures === true && !isRealm(verdict.language) }
}

/** True for a language whose code runs in a realm or a module instance, not as a program. */
export const isRealm = (language: Language): boolean =>
  language === 'js' || language === 'ts' || language === 'wasm'

/** The first wall that does all that is wished; without one, the schedule comes before the capture. */
function bestServing(
  usable: readonly ProviderFacts[],
  { closes = [], captures = false }: Wishes,
): ProviderFacts | undefined {
  const orders: readonly Wishes[] = [{ closes, captures }, { closes }, { captures }]
  for (const wishes of orders) {
    const found = usable.find((fact) => shortfall(fact, wishes) === undefined)
    if (found) return found
  }
  return usable[0]
}

/** Reason against a wall: what it cannot do of the wishes, and the other wall, if there is one, can. */
function shortfall(
  fact: ProviderFacts,
  { closes = [], captures = false }: Wishes,
  than?: ProviderFacts,
): string | undefined {
  const kept = than ? openIn(than, closes) : []
  const open = openIn(fact, closes).filter((control) => !kept.includes(control))
  if (open.length > 0) return `it cannot close ${open.join(', ')}, as the schedule does`
  const isLess = captures && !canCapture(fact) && (!than || canCapture(than))
  return isLess ? 'it makes no captures, and the job asks for one' : undefined
}

const openIn = ({ tightens = [] }: ProviderFacts, closes: readonly Control[]) =>
  closes.filter((control) => !tightens.includes(control))

/** True for a wall that can capture the memory of a program. */
export const canCapture = ({ can = [] }: Pick<ProviderFacts, 'can'>): boolean =>
  can.includes('capture-memory')

const unenforced: Readonly<Partial<Record<Control, string>>> = {
  cpu: 'it cannot limit a guest to less than one core',
}

const noProgramZones = 'it makes no zones of programs, and the schedule has some'

/** For each ability the reason against a wall that lacks it, and what a wall with it does. */
const abilityTexts: Readonly<Partial<Record<Ability, readonly [lacks: string, has: string]>>> = {
  network: ['it cannot provide a network', 'can provide a network'],
  files: ['it does not support files', 'supports files'],
  batch: ['it accepts one input at a time', 'accepts a batch'],
  image: ['it cannot run a program in an image', 'runs a program in an image'],
  'realm-image': [
    'code in a realm has no root: language "node" has',
    'provides a root file system for a realm',
  ],
  packages: ['it mounts no packages', 'mounts packages'],
  'realm-packages': [
    'code in a realm has no packages: language "node" has',
    'mounts packages in a realm',
  ],
  calls: ['its code cannot call capabilities', 'lets code call capabilities'],
  'program-calls': ['its programs cannot call capabilities', 'lets a program call capabilities'],
  'folder-calls': [
    'it cannot provide folders of this machine',
    'can provide folders of this machine',
  ],
  folders: [
    'it cannot provide folders of this machine to programs',
    'can provide folders of this machine to programs',
  ],
  'realm-session': [
    'its sessions run programs, not js or ts: those of language "node" do',
    'keeps a session of js or ts open',
  ],
  trace: ['it cannot trace functions', 'traces functions'],
  'program-trace': ['it traces functions of js and ts only', 'traces functions of a program'],
  instructions: [
    'it does not count instructions: only those of WebAssembly modules are counted',
    'counts instructions of WebAssembly modules',
  ],
  'program-zones': [noProgramZones, 'makes zones of programs'],
}

function blockedByScore({ config, verdict }: TierRequest): TierChoice['end'] {
  const step = config.escalation.findLast(({ at }) => at <= verdict.risk)
  if (step?.to !== 'block') return undefined
  const { risk, severity, findings } = verdict
  const message = `Cannot run the code: its risk ${risk} reaches ${step.at}, the configured limit for blocking`
  const hint = threatChanges(findings.filter(({ kind }) => kind === 'threat'))
  const details = { score: risk, severity, patterns: findings.map(patternSeen), hint }
  return { kind: 'blocked', error: { code: 'THREAT_DETECTED', message, details } }
}

/** A job that names a wall gets that wall or none: it is never replaced silently. */
function tooWeak(need: TierNeed, facts: readonly ProviderFacts[]): TierChoice['end'] {
  const { floor, tier, provider, production } = need
  const fact = facts.find(({ name }) => name === provider)
  const what =
    tier !== undefined && strengthOf[tier] < floor.strength ? `tier "${tier}"` : undefined
  const held = fact && providerStrength(fact)
  const who = held !== undefined && held < floor.strength ? `provider "${provider}"` : undefined
  const named = what ?? who ?? (provider === 'mock' && production ? 'provider "mock"' : undefined)
  if (named === undefined) return undefined
  const why =
    (what ?? who)
      ? `the floor is "${floor.tier}" (${floor.because}); name a stronger one, or none`
      : 'this is production'
  const details = { floor: { tier: floor.tier, strength: floor.strength, because: floor.because } }
  return {
    kind: 'blocked',
    error: { code: 'TIER_TOO_WEAK', message: `Cannot run the code on ${named}: ${why}`, details },
  }
}

/**
 * Strength of an available provider, or of its tier; undefined if the tier is unknown because its module could not be
 * loaded.
 */
function providerStrength({ available, strength, tier }: ProviderFacts): Strength | undefined {
  if (available) return strength
  return tier === 'none' ? undefined : strengthOf[tier]
}

function noProvider(need: TierNeed, judged: readonly JudgedFact[]): TierChoice['end'] {
  const { floor, tier, provider, language, abilities, holds } = need
  const wants = [
    ...(provider ? [`is "${provider}"`] : []),
    ...(tier ? [`is tier "${tier}"`] : []),
    // A named tier has passed the floor check, and every wall reaches the minimum.
    ...(tier === undefined && floor.strength > strengthOf.isolate
      ? [`is at least as strong as "${floor.tier}" (${floor.because})`]
      : []),
    `runs "${language}"`,
    ...abilities.map((ability) => abilityTexts[ability]?.[1] ?? `can do "${ability}"`),
    ...holds.map((control) => `holds "${control}"`),
  ]
  const message = `Cannot run the code safely enough here: no available provider ${wants.join(' and ')}`
  const named = { ...(tier && { tier }), ...(provider && { provider }) }
  const details = {
    needs: { ...floor, language, network: abilities.includes('network'), abilities, ...named },
    providers: meantBy(need, judged).map(({ fact, whyNot }) => ({
      name: fact.name,
      reason: whyNot,
    })),
    hint: hintFor(need, judged),
  }
  if (!lacksRuntime(language, judged))
    return { kind: 'unavailable', error: { code: 'UNAVAILABLE', message, details } }
  const none = `Cannot run "${language}" here: no available wall has its runtime`
  return { kind: 'unavailable', error: { code: 'LANGUAGE_UNSUPPORTED', message: none, details } }
}

/** Providers that a named provider or tier can mean; all of them if it names none, or a tier without any. */
function meantBy<T extends { readonly fact: ProviderFacts }>(
  { provider, tier }: TierNeed,
  judged: readonly T[],
): readonly T[] {
  if (provider !== undefined) return judged.filter(({ fact }) => fact.name === provider)
  const ofTier = judged.filter(({ fact }) => fact.tier === tier)
  return ofTier.length > 0 ? ofTier : judged
}

/** True if no available wall has a runtime for the language: a retry will not help. */
function lacksRuntime(language: Language, judged: readonly JudgedFact[]): boolean {
  const walls = judged.filter(({ fact }) => fact.available && fact.name !== 'mock')
  return walls.length > 0 && !walls.some(({ fact }) => fact.languages.includes(language))
}

/** Suggests a lower escalation only if nothing else rules out a wall that would run the code. */
function hintFor(need: TierNeed, judged: readonly JudgedFact[]): string {
  const { floor, tier, provider, language, abilities } = need
  if (provider !== undefined && !judged.some(({ fact }) => fact.name === provider))
    return `Name one of ${judged.map(({ fact }) => fact.name).join(', ')}`
  const make =
    'The operator can make such a provider available ("mayfly doctor" lists what is missing)'
  if (judged.some(({ whyNot }) => whyNot === noProgramZones))
    return 'Choose a schedule without zones of programs, or a tier whose walls make them'
  const isThere = judged.some(({ fact }) => fact.available && fact.languages.includes(language))
  const isEscalated = floor.because.startsWith('escalation.') && floor.strength > strengthOf.isolate
  if (isEscalated && isThere && tier === undefined && provider === undefined)
    return `${make}, or lower [escalation] in the configuration, accepting the risk`
  if (abilities.includes('program-trace')) return 'Write it in js or ts, or do not request a trace'
  if (abilities.includes('folders'))
    return 'Write it in js, which reaches granted folders by call, or hand the files over with the job'
  return abilities.includes('network') ? `Request no network. ${make}` : make
}

const noneHolds = 'no provider can hold it'

function explainTaken(
  taken: ProviderFacts | undefined,
  need: TierNeed,
  whyNone: string,
): readonly FieldReason[] {
  const { floor, provider, tier, preferred, lacking } = need
  const cheapest = lacking
    ? 'the strongest that is here'
    : 'the cheapest available that is strong enough'
  const byName =
    preferred !== undefined && preferred === taken?.name ? 'default_provider' : undefined
  const asked = provider !== undefined || tier !== undefined ? 'asked' : undefined
  const because = taken ? (byName ?? asked ?? cheapest) : whyNone
  return [
    {
      field: 'provider',
      value: taken?.name ?? provider ?? 'none',
      because: provider !== undefined && !byName ? 'asked' : because,
    },
    {
      field: 'tier',
      value: taken?.tier ?? tier ?? floor.tier,
      because: taken ? `provider "${taken.name}"` : tier ? 'asked' : floor.because,
    },
    { field: 'floor', value: floor.strength, because: floor.because },
    ...(taken ? [explainCost(taken)] : []),
  ]
}

function explainCost(taken: ProviderFacts): FieldReason {
  const { cost, because } = costOf(taken)
  return { field: 'cost', value: cost, because }
}
