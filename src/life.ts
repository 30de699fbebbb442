/**
 * The job pipeline, and the only one.
 *
 *     job ─► verify ─► analyse ─► profile ─► record the start ─► acquire ─► supervise ─► gate ─► destroy ─► record ─► outcome
 *            └───────────────────── open ─────────────────────┘  └──────────────── exec ─────────────────┘  └──── close ────┘
 *
 * Every entry point (library, HTTP, page, command line) makes a Job and calls `run`; nothing else runs untrusted code.
 * Rooms take a value and return one. The end of a job is a value too: only a bug or a broken host throws, and the
 * record then has the end of the job all the same.
 */
import { isBroken, messageOf, MayflyError } from './contract/error.ts'
import type { TimelineEntry } from './contract/event.ts'
import type { Job, JobFile } from './contract/job.ts'
import type { Outcome } from './contract/outcome.ts'
import type { OutcomeError } from './contract/outcome-error.ts'
import type { Profile } from './contract/profile.ts'
import type { Sandbox, SandboxSession, Task, TaskEnd } from './contract/provider.ts'
import type {
  JobEntry,
  Gate,
  HostCalls,
  LifeResult,
  Plan,
  Rooms,
  OutputListener,
  Supervisor,
} from './contract/pipeline.ts'
import type { Analysis } from './contract/verdict.ts'
import { filesBeside, recordOutcome } from './outcome.ts'
import { withShadow } from './shadow.ts'

export interface Caller {
  /** Aborting it cancels the job at any step. */
  readonly signal: AbortSignal
  /** Live output subscriber; a promise applies back-pressure to the guest. */
  readonly tap?: OutputListener | undefined
  /** Receives the profile before the run; never throws. */
  readonly planned?: ((profile: Profile) => void) | undefined
  /** Receives each timeline entry as it is written; never throws. */
  readonly on?: ((entry: TimelineEntry) => void) | undefined
  /** Receives the bytes of the artifacts that the outcome only names, before the outcome; never throws. */
  readonly files?: ((files: TaskEnd['artifacts']) => void) | undefined
  /** Functions that a job with the capability `host.call` may call. */
  readonly hostCalls?: HostCalls | undefined
  /** Holder of a session: the life lasts until it closes the sandbox. */
  readonly session?: SessionHolder | undefined
  /** Set for a child of a fork, whose wall is made of its parent's. */
  readonly fork?: ForkedLife | undefined
}

export interface ForkedLife {
  /** The plan within the bounds of the parent. */
  readonly within: (plan: Plan) => Plan
  readonly launch: (profile: Profile) => Promise<Sandbox>
  /** Time of the clock at that plan, from which its phases count. */
  readonly since: () => number | undefined
}

/** Life of a session; `rest` is what is left of it at any time. */
export type SupervisedSession = Pick<Supervisor, 'rest' | 'tighten'>

/** Holder of a session: receives the output of its sandbox, and starts execs in it. */
export interface SessionHolder {
  readonly gate: Gate
  /** Called once, when the sandbox accepts execs; never throws. */
  opened(sandbox: SandboxSession, provider: string): void
  /** Called before that. */
  supervised(life: SupervisedSession, sandbox: Sandbox): void
}

/**
 * Runs a job and returns its outcome; with `shadow`, runs it again on another tier, for comparison alone. Throws
 * MayflyError INVALID if its output schema cannot be compiled, and STATE if it cannot be recorded: no record, no run.
 */
export async function run(job: Job, rooms: Rooms, caller: Caller): Promise<Outcome> {
  const outcome = await live(job, rooms, caller)
  const { shadow } = job.asked
  if (shadow === undefined) return outcome
  return await withShadow(job, shadow, outcome, {
    road: (second) => live(second, rooms, { signal: caller.signal }),
    recordComparison: (fields) => rooms.compared(job, fields),
    date: () => rooms.clock.date(),
  })
}

/** Runs one life, without its shadow: a session with a single exec. Throws as `run` does. */
export async function live(job: Job, rooms: Rooms, caller: Caller): Promise<Outcome> {
  const began = rooms.clock.now()
  await rooms.ready(job)
  try {
    const opened = await open(job, rooms, caller)
    const outcome = close(opened, await exec(opened, rooms, caller), caller)
    rooms.ended(job, outcome, rooms.clock.now() - began)
    return outcome
  } catch (thrown) {
    rooms.lost(job, thrown, rooms.clock.now() - began)
    throw thrown
  }
}

/** A job that is analysed, planned and recorded: its admitted line is written. */
interface Opened {
  readonly job: Job
  readonly analysis: Analysis
  readonly plan: Plan
  readonly entry: JobEntry
}

async function open(job: Job, rooms: Rooms, caller: Caller): Promise<Opened> {
  const signed = rooms.verify(job)
  const analysis = await rooms.analyse(job, signed)
  await rooms.prove(job, analysis)
  const planned = rooms.profile(job, analysis.verdict, signed)
  const plan = caller.fork ? caller.fork.within(planned) : planned
  const entry = rooms.recordStart(job, analysis.verdict, plan)
  if (plan.kind === 'run') caller.planned?.(plan.profile)
  return { job, analysis, plan, entry }
}

/** Runs the job behind a wall, unless no wall was chosen, its code does not parse, or its result is cached. */
async function exec(opened: Opened, rooms: Rooms, caller: Caller): Promise<LifeResult> {
  const { job, analysis, plan } = opened
  if (analysis.kind === 'syntax-error') return notParsed(analysis)
  if (plan.kind !== 'run') return { status: plan.kind, error: plan.error }
  const run = () => behindWall(job, analysis, plan.profile, rooms, caller)
  return await rooms.recall(job, plan.profile, caller, run).catch(neverRan)
}

/** Writes the ended line, then makes the outcome. */
function close(
  { job, analysis, plan, entry }: Opened,
  lived: LifeResult,
  { files }: Caller,
): Outcome {
  const outcome = recordOutcome(job, analysis.verdict, plan.profile, lived, entry)
  files?.(filesBeside(job, lived))
  return outcome
}

/** The wall exists inside this scope only: `await using` destroys it on return and on throw. */
async function behindWall(
  job: Job,
  analysis: Analysis,
  profile: Profile,
  rooms: Rooms,
  caller: Caller,
): Promise<LifeResult> {
  const { session } = caller
  const gate = session?.gate ?? rooms.gate(profile, caller.tap, job.asked.calls?.length)
  let endedAt = rooms.clock.now()

  const lived = await (async () => {
    const { signal, fork } = caller
    await using claim = await rooms.acquire(profile, job, analysis, signal, fork?.launch)
    const subscriber = { ...caller, since: fork?.since() }
    await using supervisor = rooms.supervise(claim.sandbox, profile, analysis, subscriber)
    using callee = rooms.answer(job, caller)
    const listener = { ...gate, call: callee.call }
    session?.supervised(supervisor, claim.sandbox)
    if (session) handOver(claim.sandbox, session, (open) => rooms.watchSession(job, open))
    const { end, ...rest } = await supervisor.run(taskOf(job, analysis, profile, caller), listener)
    endedAt = rooms.clock.now()
    return { ...gate.close(end), end, ...rest, claim, called: callee.called }
  })()

  const teardownTime = rooms.clock.now() - endedAt
  const ended = { behaviorScore: rooms.behaviorScore(job), bundle: rooms.takeBundle(job) }
  return { ...lived, ...ended, teardownTime }
}

/** Hands the sandbox over once it accepts execs. Throws UNAVAILABLE for a wall without sessions. */
function handOver(
  sandbox: Sandbox,
  holder: SessionHolder,
  watched: (session: SandboxSession) => SandboxSession,
): void {
  const { session, provider } = sandbox
  if (!session) {
    const message = `Cannot open a session: a wall of "${provider}" takes a single task`
    throw new MayflyError('UNAVAILABLE', message)
  }
  void session.ready.then(() => holder.opened(watched(session), provider))
}

/** The task that crosses the wall: text and names. */
function taskOf(job: Job, analysis: Analysis, profile: Profile, { hostCalls }: Caller): Task {
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
    ...processInputsOf(job.asked),
    capabilities: capabilities === 'any' ? [] : capabilities,
    ...(hostCalls?.names && { functions: hostCalls.names }),
    ...(job.asked.calls && { calls: job.asked.calls.length }),
    ...(analysis.kind === 'verdict' && analysis.split && { split: analysis.split }),
    ...(job.asked.trace && { trace: true }),
    ...(job.session && { session: true }),
  }
}

/** Arguments, variables and standard input, which is empty for a job without any input. */
function processInputsOf({ args, env, stdin, input, calls }: Job['asked']): Partial<Task> {
  const hasNoInput = input === undefined && calls === undefined
  const given = stdin ?? (hasNoInput ? { content: '', encoding: 'utf8' as const } : undefined)
  return {
    ...(args.length > 0 && { args }),
    ...(Object.keys(env).length > 0 && { env }),
    ...(given && { stdin: given }),
  }
}

/** Files of the job; those in TypeScript as JavaScript where the analysis erased their types (for isolates). */
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

/** Ends a job that got no wall, or whose wall broke before user code ran. There is no fallback to a weaker wall. */
function neverRan(thrown: unknown): LifeResult & { readonly error: OutcomeError } {
  if (thrown instanceof SuppressedError) {
    const [first, then] = [neverRan(thrown.suppressed), neverRan(thrown.error)]
    const { error } = first.status === 'cancelled' ? then : first
    const message = `${first.error.message}; then its wall was not destroyed: ${then.error.message}`
    return { status: 'failed', error: { ...error, message } }
  }
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
