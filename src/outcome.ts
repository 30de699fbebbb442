import { MayflyError, UnrecordedEndError } from './contract/error.ts'
import type { Job } from './contract/job.ts'
import { noOutput, type Outcome } from './contract/outcome.ts'
import type { OutcomeError } from './contract/outcome-error.ts'
import type { Profile } from './contract/profile.ts'
import type { TaskEnd } from './contract/provider.ts'
import type { JobEntry, LifeResult } from './contract/pipeline.ts'
import { shownScores, type Verdict } from './contract/verdict.ts'
import { unreadInput } from './contract/unread-input.ts'
import { notebookHint } from './lib/notebook-syntax.ts'
import { remedyText } from './contract/remedy.ts'
import { exactSize } from './contract/unit-text.ts'
import { tracedFunctions } from './contract/traced-functions.ts'

/** Appends the ended line, then builds the outcome: in this order, so that no unrecorded outcome is returned. */
export function recordOutcome(
  job: Job,
  verdict: Verdict,
  profile: Profile,
  lived: LifeResult,
  entry: JobEntry,
): Outcome {
  const {
    claim,
    end,
    executionTime: _ran,
    teardownTime: _tore,
    timeline = [],
    cache: _cache,
    called: _called,
    files: _files,
    behaviorScore = 0,
    terminal: _terminal,
    error: endError,
    bundle = null,
    ...gated
  } = lived
  const error = endError && withNotebookHint(endError, job.asked.code, verdict)
  const metrics = measured(profile, lived)
  const ran = end?.ran && tracedFunctions(job.asked.code, end.ran)
  const { seq, hash } = endOf(lived, entry, {
    status: lived.status,
    ...(error && { error }),
    resultText: gated.calls ? JSON.stringify(gated.calls) : (end?.resultText ?? 'null'),
    metrics,
    timeline,
    behaviorScore,
    zones: lived.zones,
    ran,
    truncated: lived.truncated,
    destroyed: claim?.destroyed,
    enforced: claim?.sandbox.held,
  })
  return {
    id: job.id,
    result: null,
    encoding: 'json',
    ...noOutput,
    ...gated,
    ...withContent(job, lived),
    exitCode: end?.exitCode ?? null,
    signal: end?.signal ?? null,
    ...(error && { error }),
    ...(claim && {
      tier: profile.tier,
      provider: claim.sandbox.provider,
      image: claim.sandbox.image,
      ...(claim.sandbox.held && { enforced: claim.sandbox.held }),
    }),
    ...(ran && { ran }),
    ...(lived.status === 'ok' && end?.pending && { pending: end.pending }),
    ...(lived.status === 'ok' && warningsOf(job, verdict, profile, lived)),
    ...(end?.leftOut && { artifactsLeftOut: end.leftOut }),
    security: {
      ...shownScores(verdict),
      behaviorScore,
      signatureValid: verdict.signatureValid,
      findings: verdict.findings,
    },
    profile: { digest: profile.digest, explain: profile.explain },
    metrics,
    timeline,
    evidence: { audit: seq, hash, bundle, ...(bundle === null && missingCapture(job, timeline)) },
  }
}

function warningsOf(
  job: Job,
  verdict: Verdict,
  { limits }: Profile,
  { end, stdout = '', artifacts = [] }: LifeResult,
) {
  const resultText = end?.resultText ?? 'null'
  const hasOutput = stdout !== '' || artifacts.length > 0
  const unread = unreadInput(job, verdict, { resultText, hasOutput })
  const partial = end?.isPartial
    ? `The result is not complete: its text is cut. Data returns whole up to ${exactSize(limits.result)} (write more to a file, or have ${remedyText({ field: 'limits.result' })} raised)`
    : undefined
  const warnings = [unread, partial].filter((text) => text !== undefined)
  return warnings.length === 0 ? undefined : { warnings }
}

/** Reason why a job has no capture although it asks for one. */
function missingCapture(
  { asked }: Job,
  timeline: Outcome['timeline'],
): { readonly because?: string } {
  const { why } = (timeline.findLast(({ event }) => event === 'captured')?.fields ?? {}) as {
    readonly why?: unknown
  }
  return asked.capture && typeof why === 'string' ? { because: why } : {}
}

/** Python is parsed by its wall alone, which names the line (untrusted). */
function withNotebookHint(
  error: OutcomeError,
  code: string,
  { language }: Pick<Verdict, 'language'>,
): OutcomeError {
  if (language !== 'python' || error.code !== 'SYNTAX_ERROR') return error
  const { line } = (error.details ?? {}) as { readonly line?: unknown }
  const text = typeof line === 'number' ? (code.split('\n', line)[line - 1] ?? '') : ''
  const hint = error.stack?.includes(text.trim()) ? notebookHint(text, 'python') : undefined
  return hint === undefined ? error : { ...error, message: `${error.message}: ${hint}` }
}

function endOf(
  { claim }: LifeResult,
  entry: JobEntry,
  facts: Parameters<JobEntry['end']>[0],
): ReturnType<JobEntry['end']> {
  try {
    return entry.end(facts)
  } catch (thrown) {
    throw claim && thrown instanceof MayflyError ? new UnrecordedEndError(thrown) : thrown
  }
}

/** Artifacts that passed the gate and that the outcome only names, as their wall gave them. */
export function filesBeside(
  { asked }: Job,
  { end, artifacts = [], files = end?.artifacts ?? [] }: LifeResult,
): TaskEnd['artifacts'] {
  if (asked.artifacts === 'inline' || artifacts.length === 0) return []
  const named = new Set(artifacts.map(({ path }) => path))
  return files.filter(({ path }) => named.has(path))
}

/** Adds the bytes of artifacts if requested inline. */
function withContent(
  { asked }: Job,
  { end, artifacts = [], files = end?.artifacts ?? [] }: LifeResult,
): Pick<Outcome, 'artifacts'> {
  if (asked.artifacts !== 'inline') return { artifacts }
  const bytesOf = new Map(files.map(({ path, bytes }) => [path, bytes]))
  return {
    artifacts: artifacts.map((one) => {
      const bytes = bytesOf.get(one.path)
      return bytes ? { ...one, content: Buffer.from(bytes).toString('base64') } : one
    }),
  }
}

function measured(profile: Profile, lived: LifeResult): Outcome['metrics'] {
  const { claim, end } = lived
  return {
    executionTime: lived.executionTime ?? 0,
    queueTime: claim?.queueTime ?? 0,
    startTime: claim?.startTime ?? 0,
    teardownTime: lived.teardownTime ?? 0,
    cpuTime: Math.max(end?.cpuTime ?? 0, claim?.sandbox.receipt?.cpuTime ?? 0),
    ...(end?.memory && {
      memoryUsage: { ...end.memory, percentage: share(end.memory.used, profile.controls.memory) },
    }),
    ...(end?.instructions !== undefined && { instructions: end.instructions }),
    pool: claim?.sandbox.pool ?? 'none',
    cache: lived.cache ?? 'none',
    network: end?.network ?? [],
    ...(lived.called && { called: lived.called }),
    ...(lived.terminal && { terminal: lived.terminal }),
  }
}

/** Percentage with one decimal. */
function share(part: number, whole: number): number {
  return whole > 0 ? Math.round((part / whole) * 1000) / 10 : 0
}
