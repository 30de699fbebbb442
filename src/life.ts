/**
 * The road a job takes, and the only one.
 *
 *     job ─► verify ─► analyse ─► profile ─► acquire ─► supervise ─► gate ─► destroy ─► record ─► outcome
 *
 * Every way in (library, HTTP, page, command line) makes a Job and comes here; nothing runs untrusted code by
 * another road. Between profile and acquire an idempotent job is answered by what it came to before, where that is
 * known. A room takes a value and returns a value. How a job ends is a value too: only a bug or a broken
 * host throws, and what happens to the job then is still in the record.
 */
import { isBroken, messageOf, MayflyError } from './contract/error.ts'
import type { TimelineEntry } from './contract/event.ts'
import type { Job, JobFile } from './contract/job.ts'
import type { Outcome } from './contract/outcome.ts'
import type { Profile } from './contract/profile.ts'
import type { Task } from './contract/provider.ts'
import type { LifeResult, Rooms, OutputListener } from './contract/pipeline.ts'
import type { Analysis } from './contract/verdict.ts'
import { tell } from './outcome.ts'

export interface Caller {
  /** Aborting it cancels the job, wherever it is. */
  readonly signal: AbortSignal
  /** Hears output as it comes; a promise holds the guest back. */
  readonly tap?: OutputListener | undefined
  /** Hears what it will live by, before it does; never throws. */
  readonly planned?: ((profile: Profile) => void) | undefined
  /** Hears each line of the timeline as it is written; never throws. */
  readonly on?: ((entry: TimelineEntry) => void) | undefined
}

/** One job, from its door to its outcome. Throws MayflyError STATE when it cannot be recorded: no record, no run. */
export async function live(job: Job, rooms: Rooms, caller: Caller): Promise<Outcome> {
  const signed = rooms.verify(job)
  const analysis = await rooms.analyse(job, signed)
  const plan = rooms.profile(job, analysis.verdict, signed)
  const admission = rooms.admit(job, analysis.verdict, plan)
  if (plan.kind === 'run') caller.planned?.(plan.profile)

  const lived =
    analysis.kind === 'syntax-error'
      ? notParsed(analysis)
      : plan.kind === 'run'
        ? await rooms
            .recall(job, plan.profile, caller, () =>
              behindWall(job, analysis, plan.profile, rooms, caller),
            )
            .catch(neverRan)
        : { status: plan.kind, error: plan.error }

  return tell(job, analysis.verdict, plan.profile, lived, admission)
}

/** Inside this scope there is a wall; when it is left, by whatever way, there is none. */
async function behindWall(
  job: Job,
  analysis: Analysis,
  profile: Profile,
  rooms: Rooms,
  caller: Caller,
): Promise<LifeResult> {
  const gate = rooms.gate(profile, caller.tap, job.asked.calls?.length)
  const began = rooms.clock.now()
  let left = began

  const lived = await (async () => {
    await using claim = await rooms.acquire(profile, job, caller.signal)
    await using supervisor = rooms.supervise(claim.sandbox, profile, caller)
    using callee = rooms.answer(job, caller)
    const listener = { ...gate, call: callee.call }
    const { end, ...told } = await supervisor.run(taskOf(job, analysis, profile), listener)
    left = rooms.clock.now()
    return { ...gate.close(end), end, ...told, claim, called: callee.called }
  })()

  const teardownTime = rooms.clock.now() - left
  return { ...lived, behaviorScore: rooms.behaviorScore(job), teardownTime }
}

/** What crosses the wall: text and names. */
function taskOf(job: Job, analysis: Analysis, profile: Profile): Task {
  const { capabilities } = profile.controls
  const isRead = analysis.kind === 'verdict'
  return {
    run: job.id,
    language: analysis.verdict.language,
    entry: analysis.verdict.entry,
    ...(job.asked.entry === 'auto' && { isEntryGuessed: true }),
    ...(job.asked.name !== undefined && { name: job.asked.name }),
    code: (isRead && analysis.javascript) || job.asked.code,
    ...(isRead && analysis.typed && { typed: true }),
    inputText: job.inputText,
    files: isRead ? erasedFiles(job.asked.files, analysis) : job.asked.files,
    ...surroundingsOf(job.asked),
    capabilities: capabilities === 'any' ? [] : capabilities,
    ...(job.asked.calls && { calls: job.asked.calls.length }),
    ...(analysis.kind === 'verdict' && analysis.split && { split: analysis.split }),
    ...(job.asked.trace && { trace: true }),
  }
}

/** A program that was given no input at all reads an empty one. */
function surroundingsOf({ args, env, stdin, input, calls }: Job['asked']): Partial<Task> {
  const isUnfed = input === undefined && calls === undefined
  const given = stdin ?? (isUnfed ? { content: '', encoding: 'utf8' as const } : undefined)
  return {
    ...(args.length > 0 && { args }),
    ...(Object.keys(env).length > 0 && { env }),
    ...(given && { stdin: given }),
  }
}

/** A program reads its files as they came; an isolate is given what it can run. */
function erasedFiles(
  files: readonly JobFile[],
  { erased = [] }: Extract<Analysis, { kind: 'verdict' }>,
): Task['files'] {
  if (erased.length === 0) return files
  const texts = new Map(erased.map(({ path, javascript }) => [path, javascript]))
  return files.map((file) => {
    const content = texts.get(file.path)
    return content === undefined ? file : { ...file, content, erased: true }
  })
}

function notParsed(error: Extract<Analysis, { kind: 'syntax-error' }>): LifeResult {
  const { message, line, column } = error
  return {
    status: 'error',
    error: { code: 'SYNTAX_ERROR', name: 'SyntaxError', message, details: { line, column } },
  }
}

/** No wall, or one that broke before it ran anything: never another, weaker one. */
function neverRan(thrown: unknown): LifeResult {
  if (thrown instanceof DOMException && thrown.name === 'AbortError') {
    return { status: 'cancelled', error: { code: 'CANCELLED', message: 'The job was cancelled' } }
  }
  const code = thrown instanceof MayflyError ? thrown.code : 'INTERNAL'
  const details =
    thrown instanceof MayflyError ? { hint: thrown.hint, retryAfterMs: thrown.retryAfterMs } : {}
  return {
    status: isBroken(thrown) ? 'failed' : 'unavailable',
    error: { code, message: messageOf(thrown), details },
  }
}
