import { messageOf } from './contract/error.ts'
import { grantable, type Job } from './contract/job.ts'
import type { Status } from './contract/exit-codes.ts'
import type { Outcome, Shadow, ShadowDifference } from './contract/outcome.ts'
import type { TierName } from './contract/tier.ts'
import { canonicalJson } from './lib/canonical-json.ts'
import { newId } from './lib/id.ts'

export interface ShadowParts {
  /** The pipeline: the second run has its own admission, sandbox and record lines. */
  readonly road: (job: Job) => Promise<Outcome>
  /** Records and emits the result of the comparison. Throws MayflyError STATE on failure. */
  readonly recordComparison: (fields: Readonly<Record<string, unknown>>) => void
  /** Milliseconds since 1970. */
  readonly date: () => number
}

/**
 * Shadow mode: runs a job a second time on another tier and compares the outcomes. The second run starts after the
 * first was recorded, so it takes no resources from it, and only adds the comparison to the answer. Never done where
 * external effects could happen twice (network, answered capabilities), unless the job is idempotent. The floor
 * applies as for any job.
 */
export async function withShadow(
  job: Job,
  tier: TierName,
  outcome: Outcome,
  parts: ShadowParts,
): Promise<Outcome> {
  const because = whyNot(job, outcome)
  if (because !== undefined) return { ...outcome, shadow: notRun(tier, because) }
  const shadow = await follow(job, tier, outcome, parts).catch((thrown: unknown) =>
    notRun(tier, messageOf(thrown)),
  )
  return { ...outcome, shadow }
}

async function follow(
  job: Job,
  tier: TierName,
  first: Outcome,
  { road, recordComparison, date }: ShadowParts,
): Promise<Shadow> {
  const second = await road(shadowJob(job, tier, date()))
  const { id, status, provider, metrics, error } = second
  const { executionTime, cpuTime } = metrics
  const common = { tier, id, status, ...(provider !== undefined && { provider }) }
  if (!hasRun(second))
    return { ...notRun(tier, error?.message ?? `It ended as "${status}"`), ...common }
  const differences = differencesOf(first, second)
  const differs = differences.map(({ field }) => field)
  const same = differences.length === 0
  recordComparison({ shadow: id, tier, provider, same, differs })
  return { ...common, ran: true, same, differences, executionTime, cpuTime }
}

/** The same job on exactly this tier, never answered from the result cache. */
function shadowJob(job: Job, tier: TierName, date: number): Job {
  const { shadow: _shadow, provider: _provider, ...asked } = job.asked
  return {
    ...job,
    id: newId('exec', date),
    asked: { ...asked, tier, idempotent: false, capture: false },
  }
}

function whyNot({ asked }: Job, outcome: Outcome): string | undefined {
  if (!hasRun(outcome)) return `The job ended as "${outcome.status}": there is nothing to compare`
  if (asked.idempotent || isClosed(outcome)) return undefined
  return 'The job can have effects outside, and was not declared idempotent'
}

/** Statuses that user code reaches by itself, so that two runs can be compared. */
const comparable: ReadonlySet<Status> = new Set<Status>([
  'ok',
  'error',
  'refused',
  'timeout',
  'limit',
])

/** True if user code ran to a comparable end. */
function hasRun({ status, provider }: Outcome): boolean {
  return provider !== undefined && comparable.has(status)
}

/** Decides by the granted controls; a missing field counts as granted. */
function isClosed({ profile }: Outcome): boolean {
  const valueOf = (name: string) => profile.explain.find(({ field }) => field === name)?.value
  const capabilities = valueOf('controls.capabilities')
  const callsNothing =
    capabilities === 'none' ||
    (Array.isArray(capabilities) && capabilities.every((name) => grantable.includes(name as never)))
  const isClosed = ['controls.network', 'controls.files'].every((name) => valueOf(name) === 'none')
  return isClosed && callsNothing
}

function notRun(tier: TierName, because: string): Shadow {
  return { tier, ran: false, because, differences: [] }
}

/** Maximum of either side shown in a difference, in UTF-16 units. */
const SHOWN_UNITS = 200

/** Compares the relevant fields: status, error, result, stdout and artifacts. */
function differencesOf(first: Outcome, second: Outcome): readonly ShadowDifference[] {
  return compared.flatMap(([field, read]) => {
    const found = firstDifference(read(first), read(second), '')
    if (!found) return []
    const { path, a, b } = found
    return [{ field, ...(path !== '' && { path: cut(path) }), first: shown(a), second: shown(b) }]
  })
}

const compared: readonly (readonly [ShadowDifference['field'], (outcome: Outcome) => unknown])[] = [
  ['status', ({ status }) => status],
  ['error', ({ error }) => error && (error.name ?? error.code)],
  ['result', ({ result, encoding }) => (encoding === 'tagged' ? { tagged: result } : result)],
  [
    'calls',
    ({ calls }) =>
      calls?.map(({ status, result, encoding }) => ({ status, result, encoding })) ?? null,
  ],
  ['stdout', ({ stdout }) => stdout],
  [
    'artifacts',
    ({ artifacts }) =>
      Object.fromEntries(artifacts.map(({ path, sha256 }) => [path, sha256] as const)),
  ],
]

interface Mismatch {
  readonly path: string
  readonly a: unknown
  readonly b: unknown
}

/** First difference of two plain values, ignoring key order. Linear in size, since the values come from a guest. */
function firstDifference(a: unknown, b: unknown, path: string): Mismatch | undefined {
  if (!isTree(a) || !isTree(b) || Array.isArray(a) !== Array.isArray(b))
    return a === b ? undefined : { path, a, b }
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const found = firstDifference(memberOf(a, key), memberOf(b, key), `${path}/${key}`)
    if (found) return found
  }
  return undefined
}

function memberOf(tree: object, key: string): unknown {
  return Object.hasOwn(tree, key) ? (tree as Record<string, unknown>)[key] : undefined
}

function isTree(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Start of the value as JSON; empty for undefined. */
function shown(value: unknown): string {
  return value === undefined ? '' : cut(canonicalJson(value))
}

function cut(text: string): string {
  return text.length > SHOWN_UNITS ? `${text.slice(0, SHOWN_UNITS).toWellFormed()}…` : text
}
