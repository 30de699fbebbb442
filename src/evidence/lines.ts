import type { Event } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { JobEntry, Plan } from '../contract/pipeline.ts'
import { shownScores, trustOf, type Verdict } from '../contract/verdict.ts'
import type { ProgramZoneMade, ZonesMade } from '../contract/zones.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { draft, type Draft } from './chain.ts'
import { commit } from './commitment.ts'
import type { Owner } from '../lib/owner.ts'
import { keptTimeline } from './line-room.ts'
import type { OpenLine } from './store.ts'
import { parseJson, tryParseJson } from '../lib/parse-json.ts'

/** Content of audit lines. Every field is bounded, and no text of a guest is included in clear. */
export type EndFacts = Parameters<JobEntry['end']>[0]

/** Findings, zones and functions per line. */
const listedMax = 64
const reasonCharsMax = 200
/** Network attempts of each verdict per line. */
const attemptsListed = 128
const fieldsCharsMax = 4096

/** Admitted line: requester, analysis and plan, written before the code runs. */
export function admittedLine(
  at: number,
  owner: Owner,
  salts: Uint8Array,
  [job, verdict, plan]: readonly [Job, Verdict, Plan],
): Draft {
  return draft({
    at,
    kind: 'admitted',
    run: job.id,
    tenant: job.tenant,
    status: null,
    body: {
      owner,
      origin: job.origin,
      capability: job.capability,
      forkOf: job.session?.kind === 'open' ? job.session.forkOf : undefined,
      language: verdict.language,
      entry: verdict.entry,
      codeSha256: job.session?.kind === 'open' ? undefined : sha256(job.asked.code),
      commitments: commitmentsOf(job, salts),
      security: securityOf(verdict),
      plan: planOf(plan),
    },
  })
}

/** Ended line. Contains only the code of an error, because its text is the guest's. */
export function endedLine(
  at: number,
  salts: Uint8Array,
  job: Pick<Job, 'id' | 'tenant'>,
  facts: EndFacts & {
    readonly admitted: number
    /** Provider of the plan; undefined for a job that no provider was to run. */
    readonly provider: string | undefined
    readonly eventsDropped: number
  },
): Draft {
  const timeline = keptTimeline(facts.timeline)
  return draft({
    at,
    kind: 'ended',
    run: job.id,
    tenant: job.tenant,
    status: facts.status,
    body: {
      admitted: facts.admitted,
      provider: facts.provider,
      error: facts.error && stableCode(facts.error.code),
      commitments: { result: commit(salts, 'result', facts.resultText) },
      metrics: plain(fittedMetrics(facts.metrics)),
      behaviorScore: facts.behaviorScore,
      timeline: timeline.map(timelineOf),
      zones: facts.zones && [
        ...facts.zones.made.map(zoneOf),
        ...(facts.zones.programs ?? []).slice(0, listedMax).map(programOf),
      ],
      ran: facts.ran?.slice(0, listedMax),
      destroyed: facts.destroyed && plain(facts.destroyed),
      enforced: facts.enforced && plain(facts.enforced),
      timelineDropped: facts.timeline.length - timeline.length || undefined,
      eventsDropped: facts.eventsDropped || undefined,
    },
  })
}

/** Closed line for an entry whose owner process died before its end. */
export function closedLine(at: number, line: OpenLine): Draft {
  const body = { admitted: line.seq, because: 'the process that ran it died' }
  return draft({ at, kind: 'closed', run: line.run, tenant: line.tenant, status: 'failed', body })
}

/** Event line. Of oversized fields the largest are left out, and the size of all is stated. */
export function eventLine(event: Event, tenant: string | null): Draft {
  const { point, actor, trust, zone } = event
  const body = { point, actor, trust, zone, fields: fittedFields(plain(event.fields)) }
  return draft({ at: event.at, kind: 'event', run: event.run, tenant, status: null, body })
}

/** Process that wrote an admitted line without an end; undefined if not stated. */
export function lineOwnerOf(line: OpenLine): Owner | undefined {
  const body = tryParseJson(line.bodyText) as { owner?: Partial<Owner> } | null | undefined
  const owner = body?.owner
  if (typeof owner?.bootId !== 'string' || typeof owner.startTime !== 'string') return undefined
  return typeof owner.pid === 'number' ? (owner as Owner) : undefined
}

function commitmentsOf(job: Job, salts: Uint8Array): Record<string, string | undefined> {
  const { code, files } = job.asked
  return {
    code: commit(salts, 'code', code),
    input: commit(salts, 'input', job.inputText),
    principal: commit(salts, 'principal', job.principal),
    files: files.length > 0 ? commit(salts, 'files', canonicalJson(files)) : undefined,
  }
}

/** Findings by name, line and score; descriptions may quote the code. */
function securityOf(verdict: Verdict): Record<string, unknown> {
  const { signatureValid } = verdict
  const findings = verdict.findings
    .slice(0, listedMax)
    .map(({ name, score, kind, line }) => ({ name, score, kind, line }))
  return { ...shownScores(verdict), signatureValid, trust: trustOf(verdict), findings }
}

function planOf(plan: Plan): Record<string, unknown> {
  const { provider, tier, floor, image, digest, schedule } = plan.profile
  const error = plan.kind === 'run' ? undefined : stableCode(plan.error.code)
  const life = { name: schedule.name, begins: schedule.phases[0]?.name }
  return { kind: plan.kind, error, provider, tier, floor, image, schedule: life, profile: digest }
}

function timelineOf(entry: EndFacts['timeline'][number]): Record<string, unknown> {
  const { at, zone, event, phase, took, reason } = entry
  return { at, zone, event, phase, took, reason: reason?.slice(0, reasonCharsMax) }
}

/** The first attempts of each verdict, so that those of one do not crowd out those of another, and the number of the others. */
function fittedMetrics(metrics: EndFacts['metrics']): object {
  const seen = { allowed: 0, denied: 0 }
  const listed = metrics.network.filter(({ verdict }) => seen[verdict]++ < attemptsListed)
  const network = listed.map(({ because, ...about }) => ({
    ...about,
    ...(because !== undefined && { because: because.slice(0, reasonCharsMax) }),
  }))
  const leftOut = metrics.network.length - listed.length
  return { ...metrics, network, ...(leftOut > 0 && { networkLeftOut: leftOut }) }
}

/** Zone as recorded: its function by the lines of the source, and its callers with counts. */
function zoneOf({ name, kind, line, endLine, callers }: ZonesMade['made'][number]) {
  return { zone: name, kind, line, endLine, callers }
}

/** Omits the executed path, which may be the guest's text. */
function programOf({ zone, kind, parent, entered, why }: ProgramZoneMade) {
  return { zone, kind, parent, entered, why }
}

/** The smallest members within the bound: a guest that inflates the evidence of an anomaly hides no name and reason. */
function fittedFields(fields: unknown): unknown {
  const chars = canonicalJson(fields).length
  if (chars <= fieldsCharsMax) return fields
  const sized = Object.entries(fields as object)
    .map(([key, value]) => ({ key, value, size: canonicalJson({ [key]: value }).length }))
    .toSorted((a, b) => a.size - b.size)
  let left = fieldsCharsMax
  const kept = sized.filter(({ size }) => (left -= size) >= 0)
  return { ...Object.fromEntries(kept.map(({ key, value }) => [key, value])), charsLeftOut: chars }
}

/** JSON representation of a value: NaN becomes null, unserialisable values are marked. */
function plain(value: unknown): unknown {
  try {
    return parseJson(JSON.stringify(value))
  } catch {
    return { unreadable: true }
  }
}

/** Own codes are upper-case; anything else came from a guest. */
export function stableCode(code: string): string {
  return /^[A-Z][A-Z0-9_]{0,63}$/.test(code) ? code : 'OTHER'
}
