import * as z from 'zod'
import type { TimelineEntry } from './event.ts'
import { sessionEntryTypes, type SessionBound, type SessionFiles } from './exec.ts'
import { codeCharactersMax, jobRequest, language, limits, type Job, type Language } from './job.ts'
import type { Outcome } from './outcome.ts'
import type { OutputListener } from './pipeline.ts'
import type { Profile } from './profile.ts'
import type { TaskEnd } from './provider.ts'
import type { OpenedTerminal, TerminalPrinter, TerminalTask } from './terminal.ts'
import { argsAsked, envAsked } from './surroundings.ts'
import { duration } from './units.ts'

/** Languages whose interpreter can stay open. */
export const sessionLanguages = [
  'python',
  'node',
  'js',
  'ts',
  'sh',
  'bash',
] as const satisfies readonly Language[]
export type SessionLanguage = (typeof sessionLanguages)[number]

const lasting = duration.refine((ms) => ms >= 1, 'expected at least 1 ms')

/**
 * The body of `POST /v1/sandboxes`, and the argument of `mayfly.open`: the fields of a job without its code. `limits.timeout`, `output` and
 * `artifacts` are those of its execs, where an exec gives none.
 */
export const sessionRequest = jobRequest
  .unwrap()
  .pick({
    files: true,
    args: true,
    env: true,
    tier: true,
    floor: true,
    provider: true,
    schedule: true,
    limits: true,
    network: true,
    capabilities: true,
    capture: true,
    labels: true,
    output: true,
    artifacts: true,
  })
  .extend({
    language: language.prefault('python'),
    envs: envAsked.optional().describe('the same as env'),
    timeout: lasting.optional().describe('time until it ends; POST …/timeout renews it'),
    idle: lasting.optional().describe('time without an exec after which it ends'),
  })
  .readonly()

const { output, artifacts } = jobRequest.unwrap().shape

/** The body of `POST /v1/sandboxes/{id}/run`, and the argument of `box.run`. */
export const execRequest = jobRequest
  .unwrap()
  .pick({
    input: true,
    env: true,
    stdin: true,
    labels: true,
    signature: true,
    publicKey: true,
  })
  .extend({
    // Without the defaults of a job: an exec has those of its session.
    output: output.unwrap().exactOptional(),
    artifacts: artifacts.unwrap().exactOptional(),
    code: z
      .string()
      .max(codeCharactersMax)
      .optional()
      .describe('a cell: the value of its last expression is the result'),
    command: z
      .union([z.string().min(1).max(131_072), argsAsked.refine((words) => words.length > 0)])
      .optional()
      .describe('a program, run next to the interpreter: a list of arguments, or a line for sh'),
    limits: limits
      .unwrap()
      .pick({ timeout: true, cpuTime: true, output: true, artifacts: true })
      .readonly()
      .default({}),
  })
  .readonly()

export const timeoutRequest = z.strictObject({ timeout: lasting }).readonly()

export type SessionRequest = z.input<typeof sessionRequest>
export type SessionAsked = z.output<typeof sessionRequest>
export type RunRequest = z.input<typeof execRequest>
export type ExecAsked = z.output<typeof execRequest>

export interface ExecCaller {
  /** Interrupts the exec when aborted. */
  readonly signal?: AbortSignal | undefined
  readonly tap?: OutputListener | undefined
  readonly on?: ((entry: TimelineEntry) => void) | undefined
  /** Receives the bytes of the artifacts that the outcome only names, before the outcome; never throws. */
  readonly files?: ((files: TaskEnd['artifacts']) => void) | undefined
}

/** An open session, for its one owner. */
export interface Session {
  readonly id: string
  readonly profile: Profile
  readonly provider: string
  readonly isBusy: boolean
  /**
   * Runs one exec; resolves to its outcome, whatever its status. Throws MayflyError BUSY during another, SESSION_ENDED
   * after the end, STATE if it cannot be recorded.
   */
  exec(job: Job, caller?: ExecCaller): Promise<Outcome>
  readonly files: SessionFiles
  /**
   * Saves it between two execs, and lets it go on; up to `children` sessions can be opened that go on from there. Throws MayflyError
   * FORK_UNSUPPORTED where its wall cannot be copied, or its phases have conditions or a CPU clock, BUSY during an exec, a file request or
   * a terminal, CONFLICT while it is frozen, OVERLOADED, UNAVAILABLE if it could not be saved, SESSION_ENDED after the end.
   */
  fork(children: number): Promise<SessionFork>
  /**
   * Opens a terminal, concurrent with execs; one whose code is refused has ended. Throws MayflyError CONFLICT after a phase has revoked a right that it needs,
   * OVERLOADED above `terminalsMax`, UNAVAILABLE if its wall has none, SESSION_ENDED after the end, STATE if it cannot be
   * recorded.
   */
  terminal(job: Job, task: TerminalTask, print: TerminalPrinter): Promise<OpenedTerminal>
  /** Resolves to the outcome of the whole life, however it ends. */
  readonly ended: Promise<Outcome>
  /**
   * Ends it; resolves to the outcome of the whole life. Idempotent. `at` is the bound that was reached: it is named to an exec or a
   * terminal that this ends, and to later calls.
   */
  close(at?: SessionBound): Promise<Outcome>
}

/** A session that was forked. */
export interface SessionFork {
  readonly pausedMs: number
  /** Opens a child. Throws as the opening of any session does, and SESSION_ENDED if the parent has no life left. */
  open(job: Job, caller: SessionCaller): Promise<OpenedSession>
  /** Gives up the children that were not opened. Idempotent. */
  close(): Promise<void>
}

export interface SessionCaller {
  readonly signal: AbortSignal
  /** Receives each timeline entry of the life; never throws. */
  readonly on?: ((entry: TimelineEntry) => void) | undefined
}

/** A session, or the outcome of a life that ended before it took an exec. */
export type OpenedSession =
  | { readonly kind: 'open'; readonly session: Session }
  | { readonly kind: 'ended'; readonly outcome: Outcome }

/** A session in lists, in the answer of `POST /v1/sandboxes` and in the result of `mayfly.open`. */
export const sessionRow = z
  .object({
    id: z.string(),
    language: z.enum(sessionLanguages),
    tier: z.string(),
    provider: z.string(),
    createdAt: z.string().describe('as ISO 8601'),
    expiresAt: z.string().describe('as ISO 8601; renewable'),
    labels: z.record(z.string(), z.string()),
    execs: z.number().int().describe('execs so far'),
    busy: z.boolean(),
    forkOf: z.string().exactOptional().describe('the session of which it was forked'),
  })
  .readonly()
export type SessionRow = z.infer<typeof sessionRow>

/** Responses about files of a session, and about sessions that were ended by label. */
export const sessionListing = z
  .object({
    entries: z
      .array(
        z.object({
          path: z.string(),
          type: z.enum(sessionEntryTypes),
          size: z.number().int(),
          modifiedMs: z.number().int().describe('milliseconds since 1970'),
        }),
      )
      .readonly(),
    truncated: z.boolean().describe('there are more entries than are listed'),
  })
  .readonly()
export const sessionFile = z.object({ path: z.string(), size: z.number().int() }).readonly()
export const sessionsEnded = z
  .object({ items: z.array(z.object({ id: z.string(), status: z.string() })) })
  .readonly()
