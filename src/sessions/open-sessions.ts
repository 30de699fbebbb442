import type { Clock, Timer } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type {
  ExecCaller,
  Session,
  SessionAsked,
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
 * The open sessions of this process, each with its owner, its labels and its deadline.
 *
 * Problem: a session outlives the request that opened it, so nobody may be there to end it.
 *
 * Mechanism: one timer a session, for whichever comes first: its deadline, or the time without an exec. The owner
 * renews the deadline, up to the longest life, which the schedule of the life enforces as well.
 *
 * Not handled: a restart. Sessions end with their process; the history has the outcome of each.
 */
export class OpenSessions {
  readonly #options: OpenSessionsOptions
  readonly #open = new Map<string, HeldSession>()

  constructor(options: OpenSessionsOptions) {
    this.#options = options
  }

  /** Holds a session until it ends. */
  add(
    session: Session,
    job: Job,
    asked: SessionAsked & { language: SessionLanguage },
  ): HeldSession {
    const held = new HeldSession(session, { job, asked, ...this.#options })
    this.#open.set(session.id, held)
    const over = (): void => {
      held.over()
      this.#open.delete(session.id)
    }
    session.ended.then(over, over)
    return held
  }

  /** Finds a session of this caller; throws the same NOT_FOUND for one of another, an ended and an unknown one. */
  find(id: string, by: SessionUser): HeldSession {
    const held = this.#open.get(id)
    if (held?.isOf(by)) return held
    throw new MayflyError('NOT_FOUND', 'Cannot find this sandbox')
  }

  /** True if it is a session of anybody. */
  has(id: string): boolean {
    return this.#open.has(id)
  }

  /** Newest first; all labels must match. */
  list(by: SessionUser, labels: Readonly<Record<string, string>> = {}): readonly SessionRow[] {
    return [...this.#open.values()]
      .filter((held) => held.isOf(by))
      .map(({ row }) => row)
      .filter((row) => Object.entries(labels).every(([name, value]) => row.labels[name] === value))
      .toReversed()
  }

  /** Ends all of them; resolves when their outcomes are recorded. */
  async closeAll(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map((held) => held.close()))
  }
}

interface HeldParts extends OpenSessionsOptions {
  readonly job: Job
  readonly asked: SessionAsked & { readonly language: SessionLanguage }
}

/** An open session, with its deadline. */
export class HeldSession {
  readonly session: Session
  readonly #parts: HeldParts
  readonly #createdAt: number
  /** On the clock: its longest life, and its deadline. */
  readonly #lastAt: number
  #until: number
  #usedAt: number
  #timer: Timer | undefined
  #execs = 0
  #chargedMs = 0
  #isOver = false

  constructor(session: Session, parts: HeldParts) {
    this.session = session
    this.#parts = parts
    const { clock, bounds, asked } = parts
    const now = clock.now()
    this.#createdAt = clock.date()
    this.#lastAt = now + Math.min(bounds().lifetime, session.profile.limits.timeout)
    this.#until = Math.min(this.#lastAt, now + (asked.timeout ?? bounds().timeout))
    this.#usedAt = now
    this.#wait()
  }

  get asked(): HeldParts['asked'] {
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
      expiresAt: new Date(clock.date() + this.#until - clock.now()).toISOString(),
      labels: asked.labels,
      execs: this.#execs,
      busy: session.isBusy,
    }
  }

  /** CPU time of its execs, in milliseconds; the rest of the life's is work between them. */
  get chargedMs(): number {
    return this.#chargedMs
  }

  isOf({ tenant, principal, isAdmin }: SessionUser): boolean {
    const { job } = this.#parts
    return job.tenant === tenant && (isAdmin || job.principal === principal)
  }

  /** Ends it this long from now, and no later than its longest life. */
  renew(timeoutMs: number): SessionRow {
    this.#until = Math.min(this.#lastAt, this.#parts.clock.now() + timeoutMs)
    this.#wait()
    return this.row
  }

  async exec(job: Job, caller: ExecCaller): Promise<Outcome> {
    if (!this.session.isBusy) this.#execs++
    try {
      const outcome = await this.session.exec(job, caller)
      this.#chargedMs += outcome.metrics.cpuTime
      return outcome
    } finally {
      this.#usedAt = this.#parts.clock.now()
    }
  }

  /** Opens a terminal, whose bytes in either direction count as use. */
  async terminal(job: Job, task: TerminalTask, print: TerminalPrinter): Promise<OpenedTerminal> {
    const used = (): void => {
      this.#usedAt = this.#parts.clock.now()
    }
    used()
    const printed: TerminalPrinter = (chunk) => {
      used()
      return print(chunk)
    }
    const opened = await this.session.terminal(job, task, printed)
    if (opened.kind === 'ended') return opened
    const { terminal } = opened
    const write = (bytes: Uint8Array): Promise<void> => {
      used()
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

  close(): Promise<Outcome> {
    return this.session.close()
  }

  over(): void {
    this.#isOver = true
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /**
   * Sets the timer. It is not set anew at each exec, since Node keeps the list of an unreferenced timer until it would have
   * been due; when it fires, the time of the last exec decides. A busy session is not idle, but its deadline ends it.
   */
  #wait(): void {
    const { clock } = this.#parts
    this.#timer?.cancel()
    if (this.#isOver) return
    const now = clock.now()
    const idleAt = (this.session.isBusy ? now : this.#usedAt) + this.#idleMs
    this.#timer = clock.after(Math.max(0, Math.min(this.#until, idleAt) - now), () => this.#due())
    this.#timer.unref?.()
  }

  get #idleMs(): number {
    const { asked, bounds } = this.#parts
    return asked.idle ?? bounds().idle
  }

  #due(): void {
    const now = this.#parts.clock.now()
    const isIdle = !this.session.isBusy && now >= this.#usedAt + this.#idleMs
    if (now >= this.#until || isIdle) void this.close().catch(() => undefined)
    else this.#wait()
  }
}
