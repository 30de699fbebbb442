/**
 * A terminal of a session: an exec that is verified, analysed and recorded like any other, and runs concurrently.
 *
 *     verify ─► analyse ─► admit ─► open ─── bytes both ways ─── end ─► record ─► outcome
 *
 * Bytes of a terminal go to its owner alone and pass unchanged. Only their number is limited: escape sequences that draw
 * a screen have neither an encoding nor a schema to check. Its CPU time counts as background work of the session.
 */
import { admitExec, sessionClaim } from './admit-exec.ts'
import { MayflyError, messageOf } from './contract/error.ts'
import type { Job } from './contract/job.ts'
import type { Outcome } from './contract/outcome.ts'
import type { JobEntry, LifeResult, Plan, Rooms } from './contract/pipeline.ts'
import type { Profile } from './contract/profile.ts'
import type { SandboxSession, TaskEnd } from './contract/provider.ts'
import {
  terminalOutputFactor,
  terminalShell,
  type OpenedTerminal,
  type Terminal,
  type TerminalExit,
  type TerminalPrinter,
  type TerminalSignal,
  type TerminalSize,
  type TerminalTask,
  type WallTerminal,
} from './contract/terminal.ts'
import type { Analysis, Verdict } from './contract/verdict.ts'
import type { RestraintRefusal } from './exec-profile.ts'
import { recordOutcome } from './outcome.ts'

/** Parts of the session that the terminal is opened in. */
export interface TerminalSession {
  readonly id: string
  readonly profile: Profile
  readonly provider: string
  readonly sandbox: SandboxSession
  /** The plan of an exec in the sandbox of this session, for code with this analysis. */
  within(plan: Plan, analysis: Analysis): Plan
  /** Restrains the session by the risk of this code, or refuses it. Throws MayflyError SESSION_ENDED. */
  restrain(verdict: Verdict): Promise<RestraintRefusal | undefined>
  /** Anomalies are those of this code from now on, and of none for a shell, until the function returned is called. */
  runs(verdict: Verdict, as: 'terminal' | 'shell'): () => void
  /** Message of its end for a terminal that ended with it; undefined while it is open, and for an end without one. */
  toldUnderEnd(): string | undefined
}

export interface TerminalOpening {
  readonly job: Job
  readonly task: TerminalTask
  readonly print: TerminalPrinter
}

/**
 * Throws MayflyError LANGUAGE_UNSUPPORTED before anything is recorded; CONFLICT, OVERLOADED, UNAVAILABLE or
 * SESSION_ENDED after the ended line was written.
 */
export async function openTerminal(
  { job, task, print }: TerminalOpening,
  rooms: Rooms,
  session: TerminalSession,
): Promise<OpenedTerminal> {
  const { sandbox } = session
  if (!sandbox.terminal) throw noPrograms(session)
  const began = rooms.clock.now()
  const { analysis, plan, entry } = await admitExec(job, rooms, session.within)
  const facts = { job, rooms, session, entry, began, verdict: analysis.verdict }
  const notRun = ({ kind, error }: RestraintRefusal): OpenedTerminal => ({
    kind: 'ended',
    outcome: ended(facts, { status: kind, error }),
  })
  if (plan.kind !== 'run') return notRun(plan)
  const count = new ByteCount(plan.profile.limits.output * terminalOutputFactor, print)
  let over: (() => void) | undefined
  try {
    const refusal = await session.restrain(analysis.verdict)
    if (refusal) return notRun(refusal)
    // A shell is the same code for all users, and says nothing about what they type.
    const as = isShell(task.command) ? 'shell' : 'terminal'
    over = session.runs(analysis.verdict, as)
    const wall = await sandbox.terminal(task, (chunk) => count.print(chunk))
    void wall.ended.then(over)
    return { kind: 'open', terminal: new RecordedTerminal(facts, wall, count) }
  } catch (thrown) {
    over?.()
    ended(facts, { status: 'failed', error: { code: codeOf(thrown), message: messageOf(thrown) } })
    throw thrown
  }
}

/** The default shell, or an interpreter without a program. */
function isShell(command: TerminalTask['command']): boolean {
  if (command === terminalShell) return true
  const words = typeof command === 'string' ? command : command.join(' ')
  return /^(exec )?(\/[\w./-]*\/)?(sh|bash|dash|zsh|ksh|python[\d.]*|node)( -[il]+| --login)*$/.test(
    words.trim(),
  )
}

/** A wall of isolates has no processes, so no terminal. */
function noPrograms({ provider }: TerminalSession): MayflyError {
  const message = `Cannot open a terminal in a session of "${provider}": its language has no programs`
  return new MayflyError('LANGUAGE_UNSUPPORTED', message, {
    hint: 'Open a session of python, node, sh or bash',
  })
}

interface TerminalFacts {
  readonly job: Job
  readonly rooms: Rooms
  readonly session: TerminalSession
  readonly entry: JobEntry
  readonly began: number
  readonly verdict: Verdict
}

/** Counts bytes in both directions; reports output beyond its limit once, and drops it. */
class ByteCount {
  readonly #bytesMax: number
  readonly #print: TerminalPrinter
  sent = 0
  received = 0
  isFlooded = false
  flooded = (): void => undefined

  constructor(bytesMax: number, print: TerminalPrinter) {
    this.#bytesMax = bytesMax
    this.#print = print
  }

  print(chunk: Uint8Array): void | Promise<void> {
    const kept = chunk.subarray(0, Math.max(0, this.#bytesMax - this.sent))
    this.sent += kept.length
    if (kept.length < chunk.length && !this.isFlooded) {
      this.isFlooded = true
      this.flooded()
    }
    if (kept.length > 0) return this.#print(kept)
  }
}

class RecordedTerminal implements Terminal {
  readonly id: string
  readonly ended: Promise<Outcome>
  readonly #wall: WallTerminal
  readonly #count: ByteCount
  #isClosed = false

  constructor(facts: TerminalFacts, wall: WallTerminal, count: ByteCount) {
    this.id = facts.job.id
    this.#wall = wall
    this.#count = count
    count.flooded = () => wall.close()
    if (count.isFlooded) wall.close()
    this.ended = wall.ended.then((exit) =>
      ended(facts, this.#lived(exit, facts), this.#facts(exit)),
    )
    this.ended.catch(() => undefined)
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#count.received += bytes.length
    await this.#wall.write(bytes)
  }

  resize(size: TerminalSize): void {
    this.#wall.resize(size)
  }

  signal(name: TerminalSignal): void {
    this.#wall.signal(name)
  }

  async close(): Promise<Outcome> {
    this.#isClosed = true
    this.#wall.close()
    return await this.ended
  }

  #facts(exit: TerminalExit) {
    const { sent, received } = this.#count
    return { sent, received, ...('exitCode' in exit && { exitCode: exit.exitCode }) }
  }

  #lived(exit: TerminalExit, { rooms, began, session }: TerminalFacts): LifeResult {
    const end = this.#endOf(exit, session.toldUnderEnd())
    return {
      status: end.status,
      ...(end.error && { error: end.error }),
      end,
      executionTime: rooms.clock.now() - began,
      claim: sessionClaim(session),
      session: { id: session.id, state: 'kept', ended: 'lost' in exit },
    }
  }

  #endOf(exit: TerminalExit, toldUnderEnd = 'The session of the terminal ended'): TaskEnd {
    const exitFields = 'lost' in exit ? {} : exit
    const nothing = { resultText: 'null', encoding: 'json', cpuTime: 0, artifacts: [] } as const
    const base = { ...nothing, ...exitFields }
    if (this.#count.isFlooded)
      return { ...base, ...failed('limit', 'OUTPUT', 'The terminal was ended at its OUTPUT limit') }
    if ('lost' in exit && !this.#isClosed)
      return {
        ...base,
        ...failed('terminated', 'SESSION_ENDED', toldUnderEnd),
      }
    if ('exitCode' in exit && exit.exitCode === 0) return { ...base, status: 'ok' }
    if (this.#isClosed)
      return { ...base, ...failed('cancelled', 'CANCELLED', 'The terminal was closed') }
    const why = 'signal' in exit ? `was ended by ${exit.signal}` : 'exited with an error'
    return { ...base, ...failed('error', 'EXIT', `The program of the terminal ${why}`) }
  }
}

const failed = (status: TaskEnd['status'], code: string, message: string) => ({
  status,
  error: { code, message },
})

/** Appends the ended line, and reports the end. */
function ended(
  { job, rooms, session, entry, began, verdict }: TerminalFacts,
  lived: LifeResult,
  terminal?: Outcome['metrics']['terminal'],
): Outcome {
  const took = (): number => rooms.clock.now() - began
  try {
    const whole = { ...lived, ...(terminal && { terminal }) }
    const outcome = recordOutcome(job, verdict, session.profile, whole, entry)
    rooms.ended(job, outcome, took())
    return outcome
  } catch (thrown) {
    rooms.lost(job, thrown, took())
    throw thrown
  }
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof MayflyError ? thrown.code : 'INTERNAL'
