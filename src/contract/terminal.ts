import * as z from 'zod'
import type { Outcome } from './outcome.ts'
import { argsAsked, envAsked } from './surroundings.ts'

/** Maximum open terminals of one session. */
export const terminalsMax = 4
/** Maximum columns, and rows. */
const terminalCellsMax = 1000
/** Bytes that a caller may send in one message. */
export const terminalMessageBytesMax = 65_536
/** Output limit of one terminal, as a multiple of that of an exec. */
export const terminalOutputFactor = 64

const cells = z.number().int().min(1).max(terminalCellsMax)

/** Signals that a client may send to the foreground process group of a terminal. */
const terminalSignals = [
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGHUP',
  'SIGKILL',
  'SIGTSTP',
  'SIGCONT',
  'SIGUSR1',
  'SIGUSR2',
] as const
export const terminalSignal = z.enum(terminalSignals)
export type TerminalSignal = (typeof terminalSignals)[number]

export const terminalSize = z.strictObject({ cols: cells, rows: cells }).readonly()
export type TerminalSize = z.infer<typeof terminalSize>

const term = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9+._-]{0,39}$/, 'expected the name of a terminal')

/** Argument of `box.pty`, and query of `GET /v1/sandboxes/{id}/pty`. */
export const terminalRequest = z
  .strictObject({
    command: z
      .union([z.string().min(1).max(131_072), argsAsked.refine((words) => words.length > 0)])
      .optional()
      .describe('a list of arguments, or a line for sh; default: bash, else sh'),
    cols: cells.default(80),
    rows: cells.default(24),
    term: term.default('xterm-256color').describe('TERM'),
    env: envAsked.default({}),
  })
  .readonly()
export type TerminalRequest = z.input<typeof terminalRequest>
export type TerminalAsked = z.output<typeof terminalRequest>

/** Text message from the client of a terminal. */
export const terminalControl = z.union([
  z.strictObject({ resize: terminalSize }),
  z.strictObject({ signal: terminalSignal }),
])

/** Command of a terminal for which the caller names none. */
export const terminalShell = '[ -x /bin/bash ] && exec /bin/bash; exec /bin/sh'

/** Receiver of the output; a returned promise applies back-pressure. */
export type TerminalPrinter = (chunk: Uint8Array) => void | Promise<void>

/** Request to open a terminal, as sent to the guest. */
export interface TerminalTask extends TerminalSize {
  readonly command: string | readonly string[]
  readonly term: string
  readonly env?: Readonly<Record<string, string>>
}

/** End of the program of a terminal. */
export type TerminalExit =
  | { readonly exitCode: number }
  | { readonly signal: string }
  /** The sandbox ended while it ran. */
  | { readonly lost: true }

/** Operations on a terminal; no-ops after its end. */
export interface TerminalOrders {
  /** Resolves when the guest is ready to accept more. */
  write(bytes: Uint8Array): Promise<void>
  resize(size: TerminalSize): void
  signal(name: TerminalSignal): void
}

/** A terminal behind a wall. */
export interface WallTerminal extends TerminalOrders {
  readonly ended: Promise<TerminalExit>
  /** Sends SIGHUP to its processes, and SIGKILL within a second. Idempotent. */
  close(): void
}

/** An open terminal of a session, for the owner of that session. */
export interface Terminal extends TerminalOrders {
  /** Id of its job in the record. */
  readonly id: string
  /** Resolves to its outcome, however it ends; rejects if that cannot be recorded. */
  readonly ended: Promise<Outcome>
  /** Ends it by SIGHUP; resolves to its outcome. Idempotent. */
  close(): Promise<Outcome>
}

/** An open terminal, or the outcome if it was not opened: blocked by policy, or by a right that a phase revoked. */
export type OpenedTerminal =
  | { readonly kind: 'open'; readonly terminal: Terminal }
  | { readonly kind: 'ended'; readonly outcome: Outcome }
