/**
 * Sessions: one life that stays open, and execs in it.
 *
 *     open ─► acquire ─► supervise ──────────────── until closed ─────────────────► destroy ─► record ─► outcome
 *                          └─ exec: verify ─► analyse ─► admit ─► run ─► gate ─► record ─► outcome, one after another
 *
 * The life is that of a job without code: `life.ts` runs it, one schedule spans all execs, and rights that a phase took
 * away are never given back. Each exec has its own verdict, output gate, limits, outcome and two lines of the record.
 */
import { admitExec, sessionClaim } from './admit-exec.ts'
import type { Controls } from './contract/controls.ts'
import { MayflyError } from './contract/error.ts'
import type { TimelineEntry } from './contract/event.ts'
import type { Job } from './contract/job.ts'
import type { Outcome } from './contract/outcome.ts'
import type { Gate, LifeResult, Plan, SessionRooms } from './contract/pipeline.ts'
import type { Profile } from './contract/profile.ts'
import { ofSession } from './contract/remedy.ts'
import {
  boundEnds,
  sessionBusy,
  sessionEnded,
  type ExecTask,
  type SessionBound,
  type SessionEnd,
  type SessionFiles,
} from './contract/exec.ts'
import type { Sandbox, SandboxFork, SandboxSession, TaskEnd } from './contract/provider.ts'
import type {
  ExecCaller,
  OpenedSession,
  Session,
  SessionCaller,
  SessionFork,
} from './contract/session.ts'
import type { OpenedTerminal, TerminalPrinter, TerminalTask } from './contract/terminal.ts'
import { strengthOf } from './contract/tier.ts'
import { timelineShare } from './contract/timeline-share.ts'
import type { Analysis, Verdict } from './contract/verdict.ts'
import { Shares } from './lib/shares.ts'
import { unheeded } from './lib/unheeded.ts'
import { notForkable } from './contract/not-forkable.ts'
import {
  execProfile,
  isAnalysed,
  laterBegin,
  SessionRestraint,
  type Reopened,
  type RestraintRefusal,
  ownLimits,
} from './exec-profile.ts'
import { live, type ForkedLife, type SupervisedSession } from './life.ts'
import { filesBeside, recordOutcome } from './outcome.ts'
import { openTerminal } from './terminal.ts'
import {
  cellPolicyRefusalOf,
  unreadPolicyHint,
  unreadPolicyRefusalOf,
} from './zones/unenforced-policy.ts'

/** Timeline entries of one exec in its outcome; the life has all of them. */
const ENTRIES_MAX = { life: 100, 'high-anomaly': 50, anomaly: 50, guest: 100 } as const

/** Opens a session for a job whose `session` is `open`. Throws as `run` does. */
export async function openSession(
  job: Job,
  rooms: SessionRooms,
  caller: SessionCaller,
  fork?: ForkedLife,
): Promise<OpenedSession> {
  const life = new SessionLife(job, rooms)
  const ended = live(job, rooms, {
    ...caller,
    planned: (profile) => life.planned(profile),
    on: (entry) => life.note(entry, caller.on),
    session: life,
    fork,
  })
  // The caller may never await `ended`; without a handler its rejection would be unhandled.
  ended.catch(() => undefined)
  const first = await Promise.race([life.isOpen.promise, ended])
  if (first) return { kind: 'ended', outcome: first }
  life.ended = ended
  ended.then(
    (outcome) => life.over(outcome),
    () => life.over(),
  )
  return { kind: 'open', session: life }
}

class SessionLife implements Session {
  readonly id: string
  readonly gate: Gate
  readonly isOpen = Promise.withResolvers<undefined>()
  ended!: Promise<Outcome>
  readonly #job: Job
  readonly #rooms: SessionRooms
  #sandbox: SandboxSession | undefined
  #profile: Profile | undefined
  #provider = ''
  #isBusy = false
  #isOver = false
  #isFrozen = false
  /** How it ended, by the exec that ended it or by its life. */
  #end: SessionEnd | undefined
  #supervised: SupervisedSession | undefined
  #restraint: SessionRestraint | undefined
  #closing: Promise<Outcome> | undefined
  /** Gate of the exec that runs. */
  #current: Gate | undefined
  /** Gate of output that arrived between two execs; undefined if there was none. */
  #between: Gate | undefined
  #entries: TimelineEntry[] | undefined
  #entryBudget = new Shares(ENTRIES_MAX)
  #onEntry: ExecCaller['on']
  /** Profiles of execs by the profile of the session, and by the one that was planned for them. */
  readonly #profiles = new WeakMap<Profile, WeakMap<Profile, Profile>>()

  constructor(job: Job, rooms: SessionRooms) {
    this.id = job.id
    this.#job = job
    this.#rooms = rooms
    this.gate = {
      stdout: (chunk) => this.#out('stdout', chunk),
      stderr: (chunk) => this.#out('stderr', chunk),
      answered() {},
      close: (end) => rooms.gate(this.profile).close(end),
    }
  }

  /** As it was opened, without what the risk of its code has taken. */
  get profile(): Profile {
    const profile = this.#restraint?.profile ?? this.#profile
    if (profile) return profile
    throw new MayflyError('INTERNAL', 'The session is not open yet')
  }

  get provider(): string {
    return this.#provider
  }

  get isBusy(): boolean {
    return this.#isBusy
  }

  get files(): SessionFiles {
    return this.#live().files
  }

  opened(sandbox: SandboxSession, provider: string): void {
    this.#sandbox = sandbox
    this.#provider = provider
    this.isOpen.resolve(undefined)
  }

  /** Called before a wall is acquired: gates need the profile, also for output before the wall is ready. */
  planned(profile: Profile): void {
    this.#profile = profile
  }

  supervised(life: SupervisedSession, sandbox: Sandbox): void {
    const { profile } = this
    const { clock } = this.#rooms
    const tightens = this.#rooms.tightens(sandbox)
    const wall = {
      tightens,
      isFrozen: () => this.#isFrozen,
      tighten: (to: Controls) => sandbox.tighten(to),
    }
    this.#supervised = life
    this.#restraint = new SessionRestraint({ profile, life, wall, clock })
  }

  /** The life has ended: every later call throws. */
  over(end?: SessionEnd): void {
    this.#isOver = true
    this.#end ??= end
  }

  note(entry: TimelineEntry, on: SessionCaller['on']): void {
    if (entry.event === 'frozen' || entry.event === 'thawed')
      this.#isFrozen = entry.event === 'frozen'
    if (this.#entries && this.#entryBudget.take(timelineShare(entry))) this.#entries.push(entry)
    // Called in the middle of an order to the wall: an error of a listener must not stop it.
    const onEntry = this.#onEntry
    if (onEntry) unheeded(() => onEntry(entry))
    on?.(entry)
  }

  async exec(job: Job, caller: ExecCaller = {}): Promise<Outcome> {
    this.#live()
    if (this.#isBusy) throw sessionBusy()
    this.#isBusy = true
    const { clock } = this.#rooms
    const began = clock.now()
    try {
      const outcome = await this.#recorded(job, caller)
      this.#rooms.ended(job, outcome, clock.now() - began)
      return outcome
    } catch (thrown) {
      this.#rooms.lost(job, thrown, clock.now() - began)
      throw thrown
    } finally {
      this.#isBusy = false
    }
  }

  async terminal(job: Job, task: TerminalTask, print: TerminalPrinter): Promise<OpenedTerminal> {
    const { id, profile, provider } = this
    const within = (plan: Plan, of: Analysis): Plan => this.#within(plan, of)
    const restrain = (verdict: Verdict) => this.#restrain(verdict)
    const runs = (verdict: Verdict, as: 'terminal' | 'shell') =>
      this.#rooms.codeRuns(id, verdict, as)
    const toldUnderEnd = () => this.#end?.toldUnderIt
    const sandbox = this.#live()
    const session = { id, profile, provider, sandbox, within, restrain, runs, toldUnderEnd }
    return await openTerminal({ job, task, print }, this.#rooms, session)
  }

  /** An exec that begins meanwhile is BUSY: it would be in none of the children. */
  async fork(children: number): Promise<SessionFork> {
    const sandbox = this.#live()
    if (this.#isBusy) throw sessionBusy()
    if (!sandbox.fork) throw notForkable()
    this.#assertCountsNothing()
    if (this.#isFrozen)
      throw new MayflyError('CONFLICT', 'Cannot fork the session: it is frozen', {
        hint: 'Thaw it first',
      })
    this.#isBusy = true
    try {
      const saved = await sandbox.fork(children)
      const { pausedMs } = saved
      try {
        this.#rooms.forked(this.#job, { children, pausedMs: Math.round(pausedMs) })
      } catch (thrown) {
        // Memory of the guest, and a place among the forks of the warden.
        await saved.close().catch(() => undefined)
        throw thrown
      }
      return {
        pausedMs,
        open: (job, caller) => this.#openChild(job, caller, saved),
        close: () => saved.close(),
      }
    } finally {
      this.#isBusy = false
    }
  }

  /** A child counts anew: each fork would multiply what conditions and a CPU clock leave to a session. */
  #assertCountsNothing(): void {
    const { phases = [] } = this.#supervised?.rest ?? {}
    const isConditional = phases.some(({ advanceIf, terminateIf }) => advanceIf ?? terminateIf)
    if (!isConditional && !this.profile.schedule.clock) return
    const what = isConditional ? 'conditions' : 'a CPU clock'
    const message = `Cannot fork the session: its phases have ${what}, which a child would begin anew`
    throw new MayflyError('FORK_UNSUPPORTED', message, {
      hint: 'Open it with a schedule without "advance_if", "terminate_if" and clock = "cpu"',
    })
  }

  /** Traffic is shared before the parent's life is looked at: an account of a parent that has ended is gone. */
  async #openChild(job: Job, caller: SessionCaller, saved: SandboxFork): Promise<OpenedSession> {
    const leave = this.#rooms.shareTraffic(job.id, this.id)
    try {
      const opened = await openSession(job, this.#rooms, caller, this.#childOf(saved))
      if (opened.kind === 'ended') leave()
      else void opened.session.ended.then(leave, leave)
      return opened
    } catch (thrown) {
      leave()
      throw thrown
    }
  }

  /**
   * Bounds are those of the parent when the child is opened, so that a tightening in between holds for it too. Its phases count from
   * then on, however long its wall takes, so that it loses a right when its parent does.
   */
  #childOf(saved: SandboxFork): ForkedLife {
    let since: number | undefined
    const within = (plan: Plan): Plan => {
      // A life that was ended early has phases left by its schedule.
      if (this.#isOver || this.#closing) throw sessionEnded(this.#end)
      const rest = this.#supervised?.rest
      since = this.#rooms.clock.now()
      if (!rest || rest.phases.length === 0) throw sessionEnded()
      const parent = { id: this.id, profile: this.profile, ...rest }
      return { ...plan, profile: this.#rooms.forkProfile(parent, plan.profile) }
    }
    return { within, launch: (profile) => saved.launch(profile), since: () => since }
  }

  close(at?: SessionBound): Promise<Outcome> {
    this.#closing ??= (async () => {
      if (at) this.#end ??= boundEnds[at]
      await this.#sandbox?.close()
      return await this.ended
    })()
    return this.#closing
  }

  async #recorded(job: Job, caller: ExecCaller): Promise<Outcome> {
    const rooms = this.#rooms
    const admitted = await admitExec(job, rooms, (plan, of) => this.#within(plan, of))
    const { analysis, plan, entry } = admitted
    const lived = await this.#lived(job, analysis, plan, caller).catch((thrown) =>
      this.#notRun(thrown),
    )
    const outcome = recordOutcome(job, analysis.verdict, plan.profile, lived, entry)
    // The exec is recorded: an error of its caller is none of its own.
    unheeded(() => caller.files?.(filesBeside(job, lived)))
    return outcome
  }

  /**
   * The plan of an exec: limits of its own, controls and sandbox of the session. Code whose risk needs a stronger wall
   * is blocked, since a session cannot move to another sandbox, and so is code that begins with a later phase. A cell is never split, so
   * neither a function with a policy nor code that could not be read for one runs here.
   */
  #within(plan: Plan, analysis: Analysis): Plan {
    const { profile } = this
    const { verdict } = analysis
    const here = this.#forExec(plan.profile)
    if (plan.kind !== 'run') return { ...plan, profile: here }
    if (strengthOf[plan.profile.tier] > strengthOf[profile.tier]) {
      const message = `Cannot run this in a wall of tier "${profile.tier}": its code asks for "${plan.profile.tier}"; open a session with that floor`
      const details = { floor: plan.profile.tier, tier: profile.tier }
      return { kind: 'blocked', profile: here, error: { code: 'TIER_TOO_WEAK', message, details } }
    }
    const split = analysis.kind === 'verdict' ? analysis.split : undefined
    const hint = split
      ? 'Run it as a job, or without a policy for this function in its schedule'
      : unreadPolicyHint
    const unheld = split
      ? cellPolicyRefusalOf(split, profile.schedule)
      : unreadPolicyRefusalOf(analysis, profile.schedule)
    if (unheld !== undefined) {
      const error = { code: 'UNAVAILABLE', message: unheld, details: { hint } }
      return { kind: 'unavailable', profile: here, error }
    }
    const phase = this.#supervised?.rest.phases[0]?.name
    const reopened = this.#reopened(verdict)
    const begins = reopened && phase !== undefined && laterBegin(reopened, profile, phase)
    if (!begins) return { kind: 'run', profile: here }
    const message = `Cannot run this in phase "${phase}": its code begins with phase "${begins}"; run it in that phase of the session, or as a job`
    const details = { phase, begins }
    return { kind: 'blocked', profile: here, error: { code: 'FORBIDDEN', message, details } }
  }

  /** Undefined for code that is planned as the opening was. The digest is that of the session, so that its plans are found again. */
  #reopened(verdict: Verdict): Reopened | undefined {
    if (verdict.risk === 0 && !verdict.signatureValid) return undefined
    const { language, entry, digest } = this.profile
    const own = { ...verdict, language, entry, digest }
    const plain = { ...own, risk: 0, findings: [], signatureValid: false }
    const of = (one: Verdict) => this.#rooms.profile(this.#job, one, { kind: 'unsigned' }).profile
    return { plain: of(plain), own: of(own) }
  }

  /**
   * Restrains the session by the risk of this code; a refusal leaves it as it is. An analysis that did not end takes nothing for good.
   * Throws MayflyError SESSION_ENDED.
   */
  async #restrain(verdict: Verdict): Promise<RestraintRefusal | undefined> {
    const reopened = isAnalysed(verdict) ? this.#reopened(verdict) : undefined
    const refusal = reopened && (await this.#restraint?.apply(verdict, reopened))
    this.#live()
    if (this.#supervised?.rest.phases.length === 0) throw sessionEnded(this.#end)
    return refusal
  }

  /** Cached by identity: the planner caches plans, so most execs of a session come with the same profile object. */
  #forExec(asked: Profile): Profile {
    const { profile } = this
    const all = this.#profiles.getOrInsertComputed(profile, () => new WeakMap())
    return all.getOrInsertComputed(asked, () => execProfile(profile, asked))
  }

  async #lived(job: Job, analysis: Analysis, plan: Plan, caller: ExecCaller): Promise<LifeResult> {
    if (analysis.kind === 'syntax-error') {
      const { message, line, column } = analysis
      const details = { line, column }
      return {
        status: 'error',
        error: { code: 'SYNTAX_ERROR', name: 'SyntaxError', message, details },
        session: { id: this.id, state: 'kept', ended: false },
      }
    }
    if (plan.kind !== 'run') return { status: plan.kind, error: plan.error }
    const { verdict } = analysis
    this.#entries = []
    this.#entryBudget = new Shares(ENTRIES_MAX)
    this.#onEntry = caller.on
    try {
      const refusal = await this.#restrain(verdict)
      if (refusal) {
        const session = { id: this.id, state: 'kept', ended: false } as const
        return { status: refusal.kind, error: refusal.error, timeline: this.#entries, session }
      }
      if (this.#between || this.#sandbox?.mayPrint) await this.#sandbox?.drain?.()
      const between = this.#takeBetween()
      const gate = this.#rooms.gate(plan.profile, caller.tap)
      this.#current = gate
      const sandbox = this.#live()
      const over = this.#rooms.codeRuns(this.id, verdict, 'exec')
      const { state, ended, executionTime, ...own } = await sandbox
        .exec(taskOf(job, analysis, plan.profile), caller.signal)
        .finally(over)
      const end = this.#withCause(own.end)
      // An end under the exec has its cause in the life.
      if (ended) this.over(end.error?.code === 'SESSION_ENDED' ? undefined : end)
      const timeline = this.#entries
      const gated = gate.close(end)
      return {
        ...gated,
        ...(gated.error && { error: ofSession(gated.error, ownLimits) }),
        end,
        executionTime,
        timeline,
        claim: sessionClaim(this),
        behaviorScore: this.#rooms.behaviorScore(this.#job),
        session: { id: this.id, state, ended, ...(between && { between }) },
      }
    } finally {
      this.#current = undefined
      this.#entries = undefined
      this.#onEntry = undefined
    }
  }

  /** Ends an exec whose sandbox ended after it was admitted, or refused it: it did not start. */
  #notRun(thrown: unknown): LifeResult {
    if (!(thrown instanceof MayflyError) || thrown.code === 'INTERNAL') throw thrown
    const { code, message } = thrown
    const ended = code === 'SESSION_ENDED'
    if (ended) this.#isOver = true
    const session = { id: this.id, state: ended ? 'lost' : 'kept', ended } as const
    return { status: ended ? 'terminated' : 'failed', error: { code, message }, session }
  }

  /** The end of an exec, with the bound of the session that brought it about. */
  #withCause(end: TaskEnd): TaskEnd {
    const message = this.#end?.toldUnderIt
    if (message === undefined || end.error?.code !== 'SESSION_ENDED') return end
    return { ...end, error: { ...end.error, message } }
  }

  #out(stream: 'stdout' | 'stderr', chunk: Uint8Array): void | Promise<void> {
    if (this.#current) return this.#current[stream](chunk)
    this.#between ??= this.#rooms.gate(this.profile)
    return this.#between[stream](chunk)
  }

  #takeBetween() {
    const gate = this.#between
    this.#between = undefined
    if (!gate) return undefined
    const end = {
      status: 'ok',
      resultText: 'null',
      encoding: 'json',
      cpuTime: 0,
      artifacts: [],
    } as const
    const { stdout, stderr, truncated } = gate.close(end)
    return { stdout, stderr, truncated }
  }

  #live(): SandboxSession {
    if (this.#sandbox && !this.#isOver && !this.#closing) return this.#sandbox
    throw sessionEnded(this.#end)
  }
}

function taskOf(job: Job, analysis: Analysis, { limits }: Profile): ExecTask {
  const { asked, session, inputText } = job
  const command = session?.kind === 'exec' ? session.command : undefined
  const { typed, javascript, cell } = analysis.kind === 'verdict' ? analysis : {}
  return {
    ...(command === undefined ? { code: javascript ?? asked.code } : { command }),
    ...(typed && { typed: true }),
    ...(cell && { cell }),
    ...(asked.input !== undefined && { inputText }),
    ...(asked.stdin && { stdin: asked.stdin }),
    ...(Object.keys(asked.env).length > 0 && { env: asked.env }),
    timeoutMs: limits.timeout,
    ...(limits.cpuTime !== undefined && { cpuTimeMs: limits.cpuTime }),
    outputBytesMax: limits.output,
    resultBytesMax: limits.result,
    artifactBytesMax: limits.artifacts,
  }
}
