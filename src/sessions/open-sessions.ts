import type { Clock, Timer } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import type { SessionBound } from '../contract/exec.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type {
  ExecCaller,
  Session,
  SessionAsked,
  SessionFork,
  SessionLanguage,
  SessionRow,
} from '../contract/session.ts'
import type { OpenedTerminal, TerminalPrinter, TerminalTask } from '../contract/terminal.ts'

/** A caller of a session: its owner, or an admin of its tenant. */
export interface SessionUser {
  readonly tenant: string
  readonly principal: string
  readonly isAdmin: boolean
}

export interface OpenSessionsOptions {
  readonly clock: Clock
  readonly bounds: () => Config['sandboxes']
}

/**
 * Open sessions of this process, each with its owner, labels and deadline.
 *
 * Problem: a session outlives the request that opened it, so its client may be gone without closing it.
 *
 * Mechanism: one timer per session, for the earlier of its deadline and its idle timeout. The owner can renew the
 * deadline, up to the longest life, which the schedule of the life enforces as well.
 *
 * Not handled: a restart. Sessions end with their process; their outcomes are in the history.
 */
export class OpenSessions {
  readonly #options: OpenSessionsOptions
  readonly #open = new Map<string, OpenSession>()
  readonly #beingMade = new Set<string>()

  constructor(options: OpenSessionsOptions) {
    this.#options = options
  }

  /** Lists a session until it ends. */
  add(
    session: Session,
    job: Job,
    asked: SessionAsked & { language: SessionLanguage },
  ): OpenSession {
    const opened = new OpenSession(session, { job, asked, ...this.#options })
    this.#open.set(session.id, opened)
    const remove = (): void => {
      opened.ended()
      this.#open.delete(session.id)
    }
    session.ended.then(remove, remove)
    return opened
  }

  /** Finds a session of this caller. Throws the same NOT_FOUND for sessions of others, ended and unknown ones. */
  find(id: string, by: SessionUser): OpenSession {
    const found = this.#open.get(id)
    if (found?.isOf(by)) return found
    throw new MayflyError('NOT_FOUND', 'Cannot find this sandbox')
  }

  /** True if a session with this id is open, of any owner. */
  has(id: string): boolean {
    return this.#open.has(id)
  }

  /** Runs an opening or a fork, which is found by its id until it is complete. */
  async making<T>(id: string, make: () => Promise<T>): Promise<T> {
    this.#beingMade.add(id)
    try {
      return await make()
    } finally {
      this.#beingMade.delete(id)
    }
  }

  /** State of an opening or a fork, of any owner; undefined for a session that has ended and an unknown id. */
  stateOf(id: string): 'running' | 'done' | undefined {
    if (this.has(id)) return 'done'
    return this.#beingMade.has(id) ? 'running' : undefined
  }

  /** Sessions of this caller with all of these labels, newest first. */
  list(by: SessionUser, labels: Readonly<Record<string, string>> = {}): readonly SessionRow[] {
    return [...this.#open.values()]
      .filter((session) => session.isOf(by))
      .map(({ row }) => row)
      .filter((row) => Object.entries(labels).every(([name, value]) => row.labels[name] === value))
      .toReversed()
  }

  /** Closes each session when its execs have ended, after `ms` in any case; resolves when their outcomes are recorded. */
  async drain(ms: number): Promise<void> {
    const late = Promise.withResolvers<void>()
    const timer = this.#options.clock.after(ms, late.resolve)
    const all = [...this.#open.values()].map(async (session) => {
      await Promise.race([session.execsEnded(), late.promise])
      await session.close()
    })
    await Promise.allSettled(all)
    timer.cancel()
  }

  /** Closes all sessions; resolves when their outcomes are recorded. */
  async closeAll(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map((session) => session.close()))
  }
}

interface OpenSessionParts extends OpenSessionsOptions {
  readonly job: Job
  readonly asked: SessionAsked & { readonly language: SessionLanguage }
}

/** Open session with its deadline and idle timeout. */
export class OpenSession {
  readonly session: Session
  readonly #parts: OpenSessionParts
  readonly #createdAt: number
  /** Clock time, ms: end of the longest life; deadline; last use. */
  readonly #lastAt: number
  #deadline: number
  #usedAt: number
  #timer: Timer | undefined
  #execs = 0
  readonly #running = new Set<Promise<Outcome>>()
  #chargedMs = 0
  #isEnded = false

  constructor(session: Session, parts: OpenSessionParts) {
    this.session = session
    this.#parts = parts
    const { clock, bounds, asked } = parts
    const now = clock.now()
    this.#createdAt = clock.date()
    this.#lastAt = now + Math.min(bounds().lifetime, session.profile.limits.timeout)
    this.#deadline = Math.min(this.#lastAt, now + (asked.timeout ?? bounds().timeout))
    this.#usedAt = now
    this.#arm()
  }

  get asked(): OpenSessionParts['asked'] {
    return this.#parts.asked
  }

  get row(): SessionRow {
    const { session } = this
    const { clock, asked } = this.#parts
    return {
      id: session.id,
      language: asked.language,
      tier: session.profile.tier,
      provider: session.provider,
      createdAt: new Date(this.#createdAt).toISOString(),
      expiresAt: new Date(clock.date() + this.#deadline - clock.now()).toISOString(),
      labels: asked.labels,
      execs: this.#execs,
      busy: session.isBusy,
      ...(this.#forkOf !== undefined && { forkOf: this.#forkOf }),
    }
  }

  get #forkOf(): string | undefined {
    const { session } = this.#parts.job
    return session?.kind === 'open' ? session.forkOf : undefined
  }

  get hasEnded(): boolean {
    return this.#isEnded
  }

  /** CPU time of the execs, in milliseconds. The rest of the life's CPU time was used between execs. */
  get chargedMs(): number {
    return this.#chargedMs
  }

  isOf({ tenant, principal, isAdmin }: SessionUser): boolean {
    const { job } = this.#parts
    return job.tenant === tenant && (isAdmin || job.principal === principal)
  }

  /** Moves the deadline to this long from now, capped at the longest life. */
  renew(timeoutMs: number): SessionRow {
    this.#deadline = Math.min(this.#lastAt, this.#parts.clock.now() + timeoutMs)
    this.#arm()
    return this.row
  }

  async exec(job: Job, caller: ExecCaller): Promise<Outcome> {
    if (!this.session.isBusy) this.#execs++
    const running = this.session.exec(job, caller)
    this.#running.add(running)
    try {
      const outcome = await running
      this.#chargedMs += outcome.metrics.cpuTime
      return outcome
    } finally {
      this.#running.delete(running)
      this.#usedAt = this.#parts.clock.now()
    }
  }

  /** Resolves when the execs that run now have ended. */
  async execsEnded(): Promise<void> {
    await Promise.allSettled(this.#running)
  }

  /** Opens a terminal; its input and output reset the idle timeout. */
  async terminal(job: Job, task: TerminalTask, print: TerminalPrinter): Promise<OpenedTerminal> {
    const markUsed = (): void => {
      this.#usedAt = this.#parts.clock.now()
    }
    markUsed()
    const printed: TerminalPrinter = (chunk) => {
      markUsed()
      return print(chunk)
    }
    const opened = await this.session.terminal(job, task, printed)
    if (opened.kind === 'ended') return opened
    const { terminal } = opened
    const write = (bytes: Uint8Array): Promise<void> => {
      markUsed()
      return terminal.write(bytes)
    }
    return {
      kind: 'open',
      terminal: {
        id: terminal.id,
        ended: terminal.ended,
        write,
        resize: (size) => terminal.resize(size),
        signal: (name) => terminal.signal(name),
        close: () => terminal.close(),
      },
    }
  }

  /** Forks it, which is use of it. */
  async fork(children: number): Promise<SessionFork> {
    try {
      return await this.session.fork(children)
    } finally {
      this.#usedAt = this.#parts.clock.now()
    }
  }

  close(at?: SessionBound): Promise<Outcome> {
    return this.session.close(at)
  }

  ended(): void {
    this.#isEnded = true
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /**
   * Arms the timer. It is not armed again at each exec, because Node keeps the list of a cancelled unreferenced timer until
   * its due time. When it fires, `#due` compares with the last use. A busy session is not idle, but its deadline ends it.
   */
  #arm(): void {
    const { clock } = this.#parts
    this.#timer?.cancel()
    if (this.#isEnded) return
    const now = clock.now()
    const idleAt = (this.session.isBusy ? now : this.#usedAt) + this.#idleMs
    this.#timer = clock.after(Math.max(0, Math.min(this.#deadline, idleAt) - now), () =>
      this.#due(),
    )
    this.#timer.unref?.()
  }

  get #idleMs(): number {
    const { asked, bounds } = this.#parts
    return asked.idle ?? bounds().idle
  }

  #due(): void {
    const now = this.#parts.clock.now()
    const isIdle = !this.session.isBusy && now >= this.#usedAt + this.#idleMs
    const at = now >= this.#deadline ? 'timeout' : isIdle && 'idle'
    if (at) void this.close(at).catch(() => undefined)
    else this.#arm()
  }
}
