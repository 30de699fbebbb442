import type { Clock } from '../contract/clock.ts'
import { checked } from '../contract/checked.ts'
import { sessionEnded, sessionFileBytesMax, type SessionEntry } from '../contract/exec.ts'
import { MayflyError } from '../contract/error.ts'
import {
  tightenAsked,
  type Captured,
  type Frozen,
  type Operations,
  type Operator,
  type Tightened,
} from '../contract/live.ts'
import type { Outcome } from '../contract/outcome.ts'
import {
  timeoutRequest,
  type ExecCaller,
  type RunRequest,
  type SessionRow,
} from '../contract/session.ts'
import type { ForkSessionRequest } from '../contract/fork.ts'
import { forkSession, readFork, type SessionPlace } from '../sessions/fork-session.ts'
import type { OpenSession, OpenSessions } from '../sessions/open-sessions.ts'
import {
  execJob,
  readExec,
  readTerminal,
  terminalJob,
  type SessionOwner,
} from '../sessions/session-job.ts'
import type { TerminalRequest } from '../contract/terminal.ts'
import { BoxTerminal, contentBytes } from './box-terminal.ts'
import { assertKnownOptions } from './known-options.ts'
import type * as z from 'zod'

/** Files below the working folder of a box. */
export interface BoxFiles {
  /** Writes a file, replacing an existing one; creates parent folders. */
  put(path: string, content: Uint8Array | string): Promise<void>
  /** Reads a file. Throws MayflyError NOT_FOUND, INVALID for anything but a regular file, TOO_LARGE above 32 MB. */
  get(path: string): Promise<Uint8Array>
  list(path?: string): Promise<readonly SessionEntry[]>
}

/** Parts of the pipeline that a box calls. */
interface BoxRoad {
  readonly clock: Clock
  readonly operations: Operations
  readonly sessions: { readonly held: OpenSessions }
}

/** The library has no limit of sessions beside that of its pool. */
const freePlace = (): SessionPlace => ({
  signal: new AbortController().signal,
  end: () => undefined,
})

/**
 * A session: a sandbox that stays open for its owner and takes one exec after another, with the variables, imports,
 * files and background processes of those before.
 *
 * @example
 * await using box = await mayfly.open({ language: 'python' })
 * await box.run({ code: 'x = 20' })
 * const { result } = await box.run({ code: 'x + 1' })
 * console.log(result) // 21
 */
export class Box implements AsyncDisposable {
  readonly files: BoxFiles
  readonly #road: BoxRoad
  readonly #openSession: OpenSession
  readonly #owner: SessionOwner

  constructor(road: BoxRoad, openSession: OpenSession, owner: SessionOwner) {
    this.#road = road
    this.#openSession = openSession
    this.#owner = owner
    const { session } = openSession
    this.files = {
      put: async (path, content) => session.files.put(pathText(path), contentBytes(content)),
      get: async (path) => session.files.get(pathText(path), sessionFileBytesMax),
      list: async (path = '.') => (await session.files.list(pathText(path))).entries,
    }
  }

  get id(): string {
    return this.#openSession.session.id
  }

  /** Tier, provider, deadline, and number of execs. */
  get row(): SessionRow {
    return this.#openSession.row
  }

  /** Resolves to the outcome of its whole life when the session has ended, also by its timeout. */
  get ended(): Promise<Outcome> {
    return this.#openSession.session.ended
  }

  /**
   * Runs a cell or a command; resolves to its outcome, whatever its status. Throws MayflyError INVALID for an invalid
   * request, BUSY during another exec, SESSION_ENDED after the end.
   */
  async run(request: RunRequest, caller: ExecCaller = {}): Promise<Outcome> {
    assertKnownOptions(caller, {
      signal: 'signal',
      tap: 'function',
      on: 'function',
      files: 'function',
    })
    const { session, asked } = this.#openSession
    const { clock } = this.#road
    const job = execJob(readExec(request), { id: session.id, asked }, this.#owner, clock)
    return await this.#openSession.exec(job, caller)
  }

  /**
   * Opens a terminal, which runs concurrently with execs; by default a shell with 80 columns and 24 rows. Throws MayflyError INVALID,
   * OVERLOADED above 4 at a time, CONFLICT after a phase closed the start of programs, SESSION_ENDED after the end.
   */
  async pty(request: TerminalRequest = {}): Promise<BoxTerminal> {
    const { session, asked } = this.#openSession
    const of = { id: session.id, asked }
    const { job, task } = terminalJob(readTerminal(request), of, this.#owner, this.#road.clock)
    return await BoxTerminal.open((print) => this.#openSession.terminal(job, task, print))
  }

  /**
   * Makes further sessions of this one while it goes on, each with its variables, files and background processes, and random values of
   * its own; in virtual machines alone. Between two execs, without terminals. Throws MayflyError INVALID, FORK_UNSUPPORTED, BUSY,
   * CONFLICT while it is frozen, OVERLOADED, UNAVAILABLE if it could not be saved, SESSION_ENDED after the end.
   *
   * @example
   * const children = await box.fork({ children: 2 })
   * for (const child of children) await child.run({ code: 'x += 1' })
   */
  async fork(request: ForkSessionRequest = {}): Promise<readonly Box[]> {
    const { clock, sessions } = this.#road
    const parts = { clock, held: sessions.held, place: freePlace }
    const asked = readFork(request)
    const { children } = await forkSession(this.#openSession, asked, this.#owner, parts)
    return children.map((one) => new Box(this.#road, one, this.#owner))
  }

  /** Removes rights permanently. Throws MayflyError CONFLICT for a loosening. */
  async tighten(controls: z.input<typeof tightenAsked>['controls']): Promise<Tightened> {
    const asked = tightenAsked.safeParse({ controls })
    if (asked.success) return this.#road.operations.tighten(this.id, asked.data, this.#operator)
    const { path, message } = asked.error.issues[0]!
    throw new MayflyError('INVALID', `Cannot tighten: "${path.join('.')}": ${message}`)
  }

  freeze(): Promise<Frozen> {
    return this.#road.operations.freeze(this.id, this.#operator)
  }

  thaw(): Promise<Frozen> {
    return this.#road.operations.thaw(this.id, this.#operator)
  }

  capture(): Promise<Captured> {
    return this.#road.operations.capture(this.id, this.#operator)
  }

  /**
   * Sets the end to this long from now, within the maximum lifetime of a session: milliseconds, or text such as "30m". Throws
   * MayflyError INVALID, SESSION_ENDED after the end.
   */
  renew(timeout: z.input<typeof timeoutRequest>['timeout']): SessionRow {
    if (this.#openSession.hasEnded) throw sessionEnded()
    return this.#openSession.renew(checked(timeoutRequest, { timeout }, 'timeout').timeout)
  }

  /** Closes the session; resolves to the outcome of its whole life. Idempotent. */
  close(): Promise<Outcome> {
    return this.#openSession.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  get #operator(): Operator {
    const { principal, tenant } = this.#owner
    return { principal, tenant }
  }
}

function pathText(path: unknown): string {
  if (typeof path === 'string') return path
  throw new MayflyError('INVALID', 'Cannot take the path: expected text')
}
