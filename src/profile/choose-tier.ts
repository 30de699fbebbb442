import { type Config, type EscalationStep, isProduction, type Tenant } from '../contract/config.ts'
import type { Control } from '../contract/controls.ts'
import type { JobAsked, Language } from '../contract/job.ts'
import type { OutcomeError } from '../contract/outcome.ts'
import type { FieldReason } from '../contract/profile.ts'
import type { Ability } from '../contract/provider.ts'
import type { TierSubstitute } from '../contract/pipeline.ts'
import { namedTiers, type Strength, strengthOf, type TierName } from '../contract/tier.ts'
import type { Verdict } from '../contract/verdict.ts'
import { costOf, ranked, type Ranked, whyBefore } from './rank.ts'

/** What is known of a provider here; `strength` is what its probe proved. */
export interface ProviderFacts extends Ranked {
  /** Why it is not available. */
  readonly reason?: string
  readonly languages: readonly Language[]
  /** Left out, it can do nothing but run code. */
  readonly can?: readonly Ability[]
  /** What it holds a guest to. */
  readonly enforces?: readonly Control[]
  readonly isByNameAlone?: boolean
}

export interface Wanted {
  readonly config: Config
  readonly tenant: Tenant
  readonly asked: Pick<JobAsked, 'tier' | 'floor' | 'provider'>
  readonly verdict: Verdict
  /** What the job needs beside its language. */
  readonly abilities: readonly Ability[]
  /** What it must be held to by its wall, that not every wall can. */
  readonly holds?: readonly Control[]
  /** What earlier runs of this code have earned it. */
  readonly raised?: RaisedFloor | undefined
}

export interface RaisedFloor {
  readonly strength: Strength
  readonly because: string
}

/** The wall to make, or why there will be none; then provider and tier are what it would have taken. */
export interface Choice {
  readonly provider: string
  readonly tier: TierName
  readonly floor: Strength
  readonly explain: readonly FieldReason[]
  readonly end?: { readonly kind: 'blocked' | 'unavailable'; readonly error: OutcomeError }
  /** Where the default escalation wants more than this machine has. */
  readonly standsIn?: TierSubstitute
}

/**
 * The cheapest available wall that is strong enough and can do what is asked. Never one below the floor: the
 * strongest of the tenant's floor, the floor asked, what the language needs and what the escalation says of the risk.
 */
export function chooseTier(wanted: Wanted, known: readonly ProviderFacts[]): Choice {
  const facts = ranked(known)
  const need = withinReach(wanted, needOf(wanted, facts), facts)
  const judged = facts.map((fact) => ({ fact, whyNot: whyNot(fact, need) }))
  const usable = judged.filter(({ whyNot }) => whyNot === undefined).map(({ fact }) => fact)
  const preferred = need.preferred && usable.find(({ name }) => name === need.preferred)
  const taken = need.lacking ? strongestOf(usable) : preferred || usable[0]
  const end =
    blockedByScore(wanted) ?? tooWeak(need, facts) ?? (taken ? undefined : nobody(need, judged))
  return {
    provider: taken?.name ?? need.provider ?? 'none',
    tier: taken?.tier ?? need.tier ?? need.floor.tier,
    floor: need.floor.strength,
    explain: [
      ...explainTaken(taken, need),
      ...explainLacking(need),
      ...judged
        .filter(({ fact }) => fact !== taken)
        .map(({ fact, whyNot }) => ({
          field: `providers.${fact.name}`,
          value: 'not taken',
          because:
            whyNot ??
            `could hold it; ${preferred ? `"${preferred.name}" is preferred` : whyBefore(taken!, fact)}`,
        })),
    ],
    ...(end && { end }),
    ...(!end &&
      taken &&
      need.lacking && {
        standsIn: { wanted: need.lacking.tier, taken: taken.tier, risk: wanted.verdict.risk },
      }),
  }
}

interface Floor {
  readonly strength: Strength
  readonly tier: TierName
  readonly because: string
}

/** What a provider must be to be taken. */
interface Need {
  readonly floor: Floor
  readonly tier?: TierName
  readonly provider?: string
  /** Taken before a cheaper one. */
  readonly preferred?: string
  readonly language: Language
  readonly abilities: readonly Ability[]
  readonly holds: readonly Control[]
  readonly mock: boolean
  readonly production: boolean
  /** The floor of the default escalation, which no wall of this machine reaches. */
  readonly lacking?: Floor
}

/**
 * The mock runs nothing, so what code may do asks no wall of it; a floor that someone set does. As the default
 * provider it therefore serves jobs without such a floor, and only where it is there.
 */
function needOf(wanted: Wanted, facts: readonly ProviderFacts[]): Need {
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

/** The least that stands in for a wall that is missing. */
const leastStandIn = 'process'

/**
 * The need as this machine can meet it. Only the default escalation gives way, only where no wall here reaches it,
 * never below `process` and never below any other floor: a floor, an escalation or a tenant rule that somebody set
 * is kept to the letter.
 */
function withinReach(wanted: Wanted, need: Need, facts: readonly ProviderFacts[]): Need {
  const { config, verdict } = wanted
  const step = stepBelowBlock(config.escalation, verdict.risk)
  if (!config.hasDefaultEscalation || !step || need.mock) return need
  const lacking = floorAt(step.to, escalationStep(step, verdict))
  const others = strongest([...floorsSaid(wanted), ...floorsFound(wanted, { escalated: false })])
  if (lacking.strength <= others.strength || lacking.strength <= strengthOf[leastStandIn])
    return need
  const { tier: _tier, provider: _provider, ...anywhere } = need
  if (facts.some((fact) => whyNot(fact, anywhere) === undefined)) return need
  const because = `the strongest here in place of "${lacking.tier}" (${lacking.because})`
  const floor = strongest([others, floorAt(leastStandIn, because)])
  return { ...need, floor, lacking }
}

/** As strong as there is; `usable` is in order, so that the first of several is the one to take. */
function strongestOf(usable: readonly ProviderFacts[]): ProviderFacts | undefined {
  const most = Math.max(...usable.map(({ strength }) => strength))
  return usable.find(({ strength }) => strength === most)
}

function explainLacking({ lacking }: Need): readonly FieldReason[] {
  if (!lacking) return []
  const because = `${lacking.because}; no such wall is here, and the strongest that is takes the job`
  return [{ field: 'floor.wanted', value: lacking.tier, because }]
}

const noFloor: Floor = { strength: 0, tier: 'mock', because: 'no floor is set' }

function floorsSaid({ tenant, asked }: Wanted): readonly Floor[] {
  return [
    ...(tenant.floor ? [floorAt(tenant.floor, `tenants.${tenant.name}.floor`)] : []),
    ...(asked.floor ? [floorAt(asked.floor, 'asked')] : []),
  ]
}

function floorsFound(
  { config, verdict, raised }: Wanted,
  { escalated }: { readonly escalated: boolean } = { escalated: true },
): readonly Floor[] {
  const step = escalated ? stepBelowBlock(config.escalation, verdict.risk) : undefined
  return [
    floorAt('isolate', 'untrusted code needs a wall'),
    ...(raised ? [{ ...raised, tier: weakestAt(raised.strength) }] : []),
    ...(step ? [floorAt(step.to, escalationStep(step, verdict))] : []),
    ...(verdict.language === 'node' ? [floorAt('process', 'language "node"')] : []),
  ]
}

/** The tier that people would name for a strength. */
function weakestAt(strength: Strength): TierName {
  return namedTiers.find((tier) => strengthOf[tier] >= strength) ?? 'microvm'
}

function floorAt(tier: TierName, because: string): Floor {
  return { strength: strengthOf[tier], tier, because }
}

/** Of two as strong, the later: it says more of why. */
function strongest(floors: readonly Floor[]): Floor {
  return floors.reduce((a, b) => (b.strength >= a.strength ? b : a), noFloor)
}

function escalationStep({ at }: { readonly at: number }, { risk }: Verdict): string {
  return `escalation.${at}, risk ${risk}`
}

function stepBelowBlock(
  steps: readonly EscalationStep[],
  risk: number,
): { readonly at: number; readonly to: TierName } | undefined {
  for (const { at, to } of steps.toReversed()) if (at <= risk && to !== 'block') return { at, to }
  return undefined
}

function whyNot(fact: ProviderFacts, need: Need): string | undefined {
  if (need.provider !== undefined && fact.name !== need.provider)
    return `provider "${need.provider}" is asked for`
  if (fact.name === 'mock' && !need.mock) return 'the mock is reached by its name alone'
  if (fact.isByNameAlone && fact.name !== need.provider) return 'it is reached by its name alone'
  if (fact.name === 'mock' && need.production) return 'the mock is refused in production'
  if (need.tier !== undefined && fact.tier !== need.tier)
    return `it is tier "${fact.tier}", and "${need.tier}" is asked for`
  if (!fact.available) return `it is not available: ${fact.reason ?? 'no reason is known'}`
  if (!fact.languages.includes(need.language)) return `it does not run "${need.language}"`
  if (fact.strength < need.floor.strength)
    return `its strength ${fact.strength} is below ${need.floor.strength} (${need.floor.because})`
  // What runs nothing needs no network, no folder and no bound for it.
  if (need.mock) return undefined
  const lacked = need.abilities.find((ability) => !fact.can?.includes(ability))
  if (lacked) return lacks[lacked] ?? `it cannot do "${lacked}"`
  const open = need.holds.find((control) => !fact.enforces?.includes(control))
  return open && (unheld[open] ?? `it does not hold "${open}"`)
}

const unheld: Readonly<Partial<Record<Control, string>>> = {
  cpu: 'it cannot hold a guest to less than a core',
}

const lacks: Readonly<Partial<Record<Ability, string>>> = {
  network: 'it has no network to give',
  files: 'it takes no files',
  batch: 'it takes one input at a time',
  packages: 'it mounts no packages',
  'realm-packages': 'code in a realm has no packages: language "node" has',
  calls: 'nothing can be called from inside it',
  'program-calls': 'no program can call anything from inside it',
  'folder-calls': 'it has no folder of this machine to give',
  folders: 'it gives no program a folder of this machine',
  trace: 'it cannot tell which functions ran',
  'program-trace': 'it tells which functions ran of js and ts alone',
}

const has: Readonly<Partial<Record<Ability, string>>> = {
  network: 'has a network to give',
  files: 'takes files',
  batch: 'takes a batch',
  packages: 'mounts packages',
  'realm-packages': 'has packages in a realm',
  calls: 'lets code call capabilities',
  'program-calls': 'lets a program call capabilities',
  'folder-calls': 'has folders of this machine to give',
  folders: 'gives a program folders of this machine',
  trace: 'tells which functions ran',
  'program-trace': 'tells which functions of a program ran',
}

function blockedByScore({ config, verdict }: Wanted): Choice['end'] {
  const step = config.escalation.findLast(({ at }) => at <= verdict.risk)
  if (step?.to !== 'block') return undefined
  const { risk, severity, findings } = verdict
  const patterns = findings.map(({ name, description, severity, line, column }) => ({
    name,
    description,
    severity,
    line,
    column,
  }))
  const message = `Cannot run the code: its risk ${risk} reaches ${step.at}, from which on it is blocked`
  const details = { score: risk, severity, patterns }
  return { kind: 'blocked', error: { code: 'THREAT_DETECTED', message, details } }
}

/** Who names a wall gets that one or none: it is never raised silently. */
function tooWeak(need: Need, facts: readonly ProviderFacts[]): Choice['end'] {
  const { floor, tier, provider, production } = need
  const fact = facts.find(({ name }) => name === provider)
  const what =
    tier !== undefined && strengthOf[tier] < floor.strength ? `tier "${tier}"` : undefined
  const held = fact && (fact.available ? fact.strength : strengthOf[fact.tier])
  const who = held !== undefined && held < floor.strength ? `provider "${provider}"` : undefined
  const named = what ?? who ?? (provider === 'mock' && production ? 'provider "mock"' : undefined)
  if (named === undefined) return undefined
  const why =
    (what ?? who) ? `the floor is "${floor.tier}" (${floor.because})` : 'this is production'
  const details = { floor: { tier: floor.tier, strength: floor.strength, because: floor.because } }
  return {
    kind: 'blocked',
    error: { code: 'TIER_TOO_WEAK', message: `Cannot run the code on ${named}: ${why}`, details },
  }
}

function nobody(
  need: Need,
  judged: readonly { readonly fact: ProviderFacts; readonly whyNot: string | undefined }[],
): Choice['end'] {
  const { floor, tier, provider, language, abilities, holds } = need
  const wants = [
    ...(provider ? [`is "${provider}"`] : []),
    ...(tier ? [`is tier "${tier}"`] : []),
    // A tier that is asked for is strong enough by now, and every wall is as strong as the least.
    ...(tier === undefined && floor.strength > strengthOf.isolate
      ? [`is at least as strong as "${floor.tier}" (${floor.because})`]
      : []),
    `runs "${language}"`,
    ...abilities.map((ability) => has[ability] ?? `can do "${ability}"`),
    ...holds.map((control) => `holds "${control}"`),
  ]
  const message = `Cannot run the code safely enough here: no available provider ${wants.join(' and ')}`
  const named = { ...(tier && { tier }), ...(provider && { provider }) }
  const details = {
    needs: { ...floor, language, network: abilities.includes('network'), abilities, ...named },
    providers: judged.map(({ fact, whyNot }) => ({ name: fact.name, reason: whyNot })),
    hint: hintFor(need, judged),
  }
  if (!lacksRuntime(language, judged))
    return { kind: 'unavailable', error: { code: 'UNAVAILABLE', message, details } }
  const none = `Cannot run "${language}" here: no available wall has its runtime`
  return { kind: 'unavailable', error: { code: 'LANGUAGE_UNSUPPORTED', message: none, details } }
}

/** Whether there are walls, and none that runs it, whatever the job asked: trying again later will not help. */
function lacksRuntime(
  language: Language,
  judged: readonly { readonly fact: ProviderFacts }[],
): boolean {
  const walls = judged.filter(({ fact }) => fact.available && fact.name !== 'mock')
  return walls.length > 0 && !walls.some(({ fact }) => fact.languages.includes(language))
}

/** A lower escalation is a way out where it alone stands between the code and a wall that would run it. */
function hintFor(need: Need, judged: readonly { readonly fact: ProviderFacts }[]): string {
  const { floor, tier, provider, language, abilities } = need
  const make = 'Make such a provider available ("mayfly doctor" says what is missing)'
  const isThere = judged.some(({ fact }) => fact.available && fact.languages.includes(language))
  const isEscalated = floor.because.startsWith('escalation.') && floor.strength > strengthOf.isolate
  if (isEscalated && isThere && tier === undefined && provider === undefined)
    return `${make}, or lower [escalation] in the configuration if you take the risk`
  if (abilities.includes('program-trace')) return 'Write it in js or ts, or do not ask for a trace'
  if (abilities.includes('folders'))
    return 'Write it in js, which reaches granted folders by call, or hand the files over with the job'
  return abilities.includes('network') ? `${make}, or ask for no network` : make
}

function explainTaken(taken: ProviderFacts | undefined, need: Need): readonly FieldReason[] {
  const { floor, provider, tier, preferred, lacking } = need
  const cheapest = lacking
    ? 'the strongest that is here'
    : 'the cheapest available that is strong enough'
  const byName =
    preferred !== undefined && preferred === taken?.name ? 'default_provider' : undefined
  const asked = provider !== undefined || tier !== undefined ? 'asked' : undefined
  const because = taken ? (byName ?? asked ?? cheapest) : 'no provider can hold it'
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
