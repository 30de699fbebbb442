import {
  artifactBytesMax,
  type Config,
  configSchema,
  defaultEscalation,
  type EscalationStep,
  weakerRisks,
} from '../contract/config.ts'
import { grantsNetwork } from '../contract/controls.ts'
import { networkAsked } from '../contract/job.ts'
import { networkOf } from '../contract/network.ts'
import type { Reaction } from '../contract/phase.ts'
import { defaultRestraint, restraint } from '../contract/restraint.ts'
import { parseDuration, parseFeedAge, parseSize } from '../contract/units.ts'
import { isSeverer, type VulnerabilitySeverity } from '../contract/vulnerability.ts'
import type { KeyPath } from './positions.ts'
import { reactionRank } from './schedules.ts'

/**
 * Finds keys of a file that grant more than the built-in defaults. A file found in the current folder may have come with
 * cloned or unpacked content, so it may restrict but not grant: see `trust.ts`. A key without a rule counts as looser: fail
 * closed.
 */
export interface Loosening {
  readonly path: KeyPath
  /** Such as `more than the default, 5000`. */
  readonly because: string
}

/** Lists each value of a file that is looser than the default of its key. */
export function loosenings(values: unknown): readonly Loosening[] {
  rulesTree ??= treeOf(looseningRules())
  return [...within(values, [], rulesTree)]
}

/** Reason why a written value is looser than the default; undefined if it is not. */
type Rule = (written: unknown) => string | undefined
/** Rules by key, such as `limits.memory`. */
type Rules = Readonly<Record<string, Rule>>

type Defaults = Omit<Config, 'state' | 'environment' | 'tenants'>

const moreThan = (value: unknown) => `more than the default, ${JSON.stringify(value)}`
const other = (value: unknown) => `other than the default, ${JSON.stringify(value)}`

const harmless: Rule = () => undefined
const gives =
  (because: string): Rule =>
  () =>
    because
const only =
  (value: unknown): Rule =>
  (written) =>
    written === value ? undefined : other(value)
const atMost =
  (most: number, read: (written: never) => number | undefined): Rule =>
  (written) =>
    (read(written as never) ?? Infinity) <= most ? undefined : moreThan(most)
const number = (written: number): number => written
const size = (most: number): Rule => atMost(most, parseSize)
const duration = (most: number): Rule => atMost(most, parseDuration)
const count = (most: number): Rule => atMost(most, number)

/** Keys below a path whose values are looser above their defaults. */
const noMore = (
  at: string,
  defaults: Readonly<Record<string, unknown>>,
  keys: string,
  rule: (most: number) => Rule,
): Rules =>
  Object.fromEntries(keys.split(' ').map((key) => [`${at}.${key}`, rule(defaults[key] as number)]))

const noNetwork: Rule = (written) =>
  grantsNetwork(networkOf(networkAsked.parse(written)))
    ? 'a network where the default is "none"'
    : undefined
/** A ceiling only restricts, unless one of its rules allows private addresses. */
const noPrivateAddresses: Rule = (written) => {
  const text = JSON.stringify(written)
  return text.includes('"private":true') ? 'a rule with private = true' : undefined
}

const noMilderThan =
  (least: Reaction): Rule =>
  (written) =>
    reactionRank[written as Reaction] >= reactionRank[least]
      ? undefined
      : `milder than the default, "${least}"`

const noSeverer =
  (most: VulnerabilitySeverity): Rule =>
  (written) =>
    isSeverer(written as VulnerabilitySeverity, most)
      ? `severer than the default, "${most}"`
      : undefined

const noMilderSeverity =
  (least: VulnerabilitySeverity): Rule =>
  (written) =>
    isSeverer(least, written as VulnerabilitySeverity)
      ? `milder than the default, "${least}"`
      : undefined

const noWeaker: Rule = (written) => {
  const next = stepsOf(written as typeof defaultEscalation)
  const weaker = weakerRisks(next, stepsOf(defaultEscalation))
  return weaker.length === 0
    ? undefined
    : `a weaker tier than the default from risk ${Math.min(...weaker)} on`
}

function stepsOf(table: Readonly<Record<string, EscalationStep['to']>>): readonly EscalationStep[] {
  const steps = Object.entries(table).map(([at, to]) => ({ at: Number(at), to }))
  return steps.sort((a, b) => a.at - b.at)
}

const noMilderRestraint: Rule = (written) => {
  const [now, next] = [restraint.parse(defaultRestraint), restraint.parse(written)]
  const shareAt = (steps: typeof now, risk: number) => {
    const {
      cpu = 1,
      memory = 1,
      processes = 1,
      io = Infinity,
    } = steps.findLast(({ at }) => at <= risk) ?? {}
    return [cpu, memory, processes, io] as const
  }
  const risks = [...now, ...next].map(({ at }) => at)
  const milder = risks.filter((risk) =>
    shareAt(next, risk).some((share, place) => share > shareAt(now, risk)[place]!),
  )
  return milder.length === 0
    ? undefined
    : `a milder restraint than the default from risk ${Math.min(...milder)} on`
}

/** A schedule must not prolong the life of a job that requests no timeout. */
const noLongerLife = (timeout: number) => (written: unknown) => {
  const phases = written as readonly { readonly for: number | string }[]
  const life = phases.reduce((sum, phase) => sum + (parseDuration(phase.for) ?? Infinity), 0)
  return life <= timeout ? undefined : `a life longer than the default, ${timeout} ms`
}

/** Keys below a path that grant nothing, whatever their value. */
const allHarmless = (at: string, keys: string): Rules =>
  Object.fromEntries(keys.split(' ').map((key) => [`${at}.${key}`, harmless]))

/** Rules shared by schedules and their zones; the controls of a phase only narrow the grants. */
const course = (at: string, timeout: number): Rules => ({
  [`${at}.phases`]: noLongerLife(timeout),
  ...allHarmless(`${at}.phases.*`, 'name for network files cpu memory io processes syscalls'),
  ...allHarmless(`${at}.phases.*`, 'capabilities advance_if terminate_if'),
  [`${at}.on_anomaly.low`]: noMilderThan('record'),
  [`${at}.on_anomaly.medium`]: noMilderThan('advance'),
  [`${at}.on_anomaly.high`]: noMilderThan('terminate'),
  [`${at}.shorten`]: count(0.5),
  [`${at}.clock`]: harmless,
})

/** Ceilings without a default: any value restricts. */
const ceiling = (at: string): Rules => ({
  ...allHarmless(at, 'timeout memory cpu cpu_time processes disk instructions'),
  [`${at}.network`]: noPrivateAddresses,
})

/**
 * Rule of each key; `*` matches a name or a list index. Built at the first comparison, because it needs all defaults and
 * most runs have no file.
 */
export function looseningRules(): Rules {
  const defaults: Defaults = configSchema.parse({})
  return {
    ...limitRules(defaults),
    ...lifeRules(defaults),
    ...serverRules(defaults),
    ...sessionRules(defaults),
  }
}

const limitRules = ({ limits, ceilings }: Defaults): Rules => ({
  default_provider: only('auto'),
  fresh: harmless,
  state: gives('another folder for record, keys and trust'),
  network: noNetwork,
  escalation: noWeaker,
  restraint: noMilderRestraint,

  ...noMore('limits', limits, 'timeout', duration),
  ...noMore('limits', limits, 'memory disk output result artifacts', size),
  ...noMore('limits', limits, 'cpu processes', count),
  'limits.instructions': harmless,
  'limits.cpu_time': harmless,

  ...ceiling('ceilings'),
  'ceilings.output': size(ceilings.output),
  'ceilings.artifacts': size(artifactBytesMax),

  'tenants.*.name': harmless,
  'tenants.*.keys': gives('API keys that are accepted'),
  'tenants.*.floor': harmless,
  ...ceiling('tenants.*.ceilings'),
  ...allHarmless('tenants.*.ceilings', 'output artifacts concurrency runs_per_minute'),
  ...allHarmless('tenants.*.ceilings', 'cpu_seconds_per_minute bytes_per_minute'),
  ...allHarmless('tenants.*.signing', 'required signers'),
})

const lifeRules = ({ limits, anomalies }: Defaults): Rules => ({
  'capability_configs.*.timeout': duration(limits.timeout),
  'capability_configs.*.memory_limit_mb': count(limits.memory / 2 ** 20),
  'capability_configs.*.cpu_limit': count(limits.cpu),
  'capability_configs.*.network_policy': only('None'),
  'capability_configs.*.fs_policy': only('None'),

  ...course('schedules.*', limits.timeout),
  ...allHarmless('schedules.*', 'for_origins for_capabilities honeytokens observe_files'),
  ...allHarmless('schedules.*.begin_at', 'suspect plain signed'),
  ...course('schedules.*.zones.*', limits.timeout),
  ...allHarmless('schedules.*.zones.*', 'program function'),
  'schedules.*.channels': harmless,

  ...allHarmless('signing', 'required signers'),

  // The schema rejects values milder than the built-in one.
  ...allHarmless('anomalies', 'thresholds honeytokens images stronger_from'),
  'anomalies.stronger_for': (written) =>
    (parseDuration(written as string) ?? 0) >= anomalies.stronger_for
      ? undefined
      : `less than the default, ${anomalies.stronger_for} ms`,
})

const serverRules = ({ cache, server }: Defaults): Rules => ({
  webhooks: gives('an address that receives anomalies'),
  credentials: gives('a variable of the environment that a host receives'),
  'mcp.servers': gives("a server or a program that an agent's code may call"),

  ...Object.fromEntries(
    ['proxy', 'proxy_credentials_env', 'no_proxy'].map((key) => [
      `egress.${key}`,
      gives('a proxy through which requests of jobs go'),
    ]),
  ),
  'egress.inspect': harmless,

  'providers.folder': gives('a folder of code that Mayfly trusts'),
  'providers.modules': gives('code that Mayfly trusts'),

  'cache.bytes': size(cache.bytes),
  'cache.age': duration(cache.age),

  'server.host': only(server.host),
  'server.port': harmless,
  ...noMore('server', server, 'drain queue_wait', duration),
  // Default: 64 for each core, and at least one core.
  'server.jobs': count(64),
  'server.body': size(server.body),
  'server.tls_cert': gives('a file that the server reads'),
  'server.tls_key': gives('a file that the server reads'),
  'server.tls_dev': only(server.tls_dev),
  'server.insecure_http': only(server.insecure_http),
  'server.trusted_proxies': gives('an address that is trusted to name its clients'),
  'server.proxy_header': only(server.proxy_header),
})

const addressOf = 'sessions.address'

const sessionRules = ({ sessions, sandboxes, images }: Defaults): Rules => ({
  'sessions.anonymous': only(false),
  ...noMore('sessions', sessions, 'concurrency per_minute cpu_seconds_per_minute', count),
  ...noMore('sessions', sessions, 'cpu_share', count),
  ...noMore('sessions', sessions, 'bytes_per_minute', size),
  ...noMore(addressOf, sessions.address, 'concurrency per_minute tokens_per_minute', count),
  ...noMore(addressOf, sessions.address, 'bytes_per_minute', size),
  [`${addressOf}.cpu_seconds_per_minute`]: harmless,

  ...noMore('sandboxes', sandboxes, 'timeout lifetime idle', duration),

  'telemetry.endpoint': gives('an address that receives spans and metrics'),
  'telemetry.service_name': harmless,

  'images.max_severity': noSeverer(images.max_severity),
  'images.unknown_severity': noMilderSeverity(images.unknown_severity),
  'images.max_feed_age': atMost(images.max_feed_age, parseFeedAge),
  'images.allow_imported': only(false),
  'images.unscanned_defaults': only(false),

  spares: gives('memory of this machine for spares'),

  rules: gives('fields of the profile'),
  intel: gives('a source that the server reads'),
})

interface RuleNode {
  rule?: Rule
  readonly below: Map<string, RuleNode>
}

let rulesTree: RuleNode | undefined

function treeOf(rules: Rules): RuleNode {
  const root: RuleNode = { below: new Map() }
  for (const [key, rule] of Object.entries(rules)) {
    let node = root
    for (const part of key.split('.'))
      node = node.below.getOrInsertComputed(part, () => ({ below: new Map() }))
    node.rule = rule
  }
  return root
}

function* within(written: unknown, path: KeyPath, node: RuleNode): Generator<Loosening> {
  const because = node.rule && applyRule(node.rule, written)
  if (because !== undefined) yield { path, because }
  if (node.rule && node.below.size === 0) return
  if (typeof written !== 'object' || written === null || node.below.size === 0)
    return void (node.rule === undefined && (yield { path, because: uncompared }))
  for (const [name, value] of Object.entries(written)) {
    const here = [...path, Array.isArray(written) ? Number(name) : name]
    const next = node.below.get(name) ?? node.below.get('*')
    if (next) yield* within(value, here, next)
    else yield { path: here, because: uncompared }
  }
}

const uncompared = 'cannot be compared with the default, so it counts as looser'

/** A value that its rule cannot read counts as looser. */
function applyRule(rule: Rule, written: unknown): string | undefined {
  try {
    return rule(written)
  } catch {
    return uncompared
  }
}
