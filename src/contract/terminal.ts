import * as z from 'zod'
import type { Outcome } from './outcome.ts'
import { argsAsked, envAsked } from './surroundings.ts'

/** Terminals of one session at a time. */
export const terminalsMax = 4
/** Columns, and rows. */
const terminalCellsMax = 1000
/** Bytes that a caller may send in one message. */
export const terminalMessageBytesMax = 65_536
/** Output of one terminal, as a multiple of what an exec may print. */
export const terminalOutputFactor = 64

const cells = z.number().int().min(1).max(terminalCellsMax)

/** As from the keyboard, to the foreground of the terminal. */
export const terminalSignals = [
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
export type TerminalSignal = (typeof terminalSignals)[number]

export const terminalSize = z.strictObject({ cols: cells, rows: cells }).readonly()
export type TerminalSize = z.infer<typeof terminalSize>

const term = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9+._-]{0,39}$/, 'expected the name of a terminal')

/** Argument of `box.pty`, and what the address of `GET /v1/sandboxes/{id}/pty` says. */
export const terminalRequest = z
  .strictObject({
    command: z
      .union([z.string().min(1).max(131_072), argsAsked.refine((words) => words.length > 0)])
      .optional()
      .describe('words, or a line for sh; default: bash, else sh'),
    cols: cells.default(80),
    rows: cells.default(24),
    term: term.default('xterm-256color').describe('TERM'),
    env: envAsked.default({}),
  })
  .readonly()
export type TerminalRequest = z.input<typeof terminalRequest>
export type TerminalAsked = z.output<typeof terminalRequest>

/** Text message of a client of a terminal. */
export const terminalControl = z.union([
  z.strictObject({ resize: terminalSize }),
  z.strictObject({ signal: z.enum(terminalSignals) }),
])

/** Shell of a terminal without a command. */
export const terminalShell = '[ -x /bin/bash ] && exec /bin/bash; exec /bin/sh'

/** Receiver of the output; its promise is back-pressure. */
export type TerminalPrinter = (chunk: Uint8Array) => void | Promise<void>

/** Terminal as it crosses the wall. */
export interface TerminalTask extends TerminalSize {
  readonly command: string | readonly string[]
  readonly term: string
  readonly env?: Readonly<Record<string, string>>
}

/** End of the program of a terminal. */
export type TerminalExit =
  | { readonly exitCode: number }
  | { readonly signal: string }
  /** The sandbox ended under it. */
  | { readonly lost: true }

/** Orders of a terminal; those for one that has ended do nothing. */
export interface TerminalOrders {
  /** Resolves when the guest has taken so much that more may follow. */
  write(bytes: Uint8Array): Promise<void>
  resize(size: TerminalSize): void
  signal(name: TerminalSignal): void
}

/** A terminal behind a wall. */
export interface WallTerminal extends TerminalOrders {
  readonly ended: Promise<TerminalExit>
  /** Hangs up: its processes get SIGHUP, and SIGKILL within a second. Idempotent. */
  close(): void
}

/** An open terminal of a session, for the owner of that session. */
export interface Terminal extends TerminalOrders {
  /** The job that it is in the record. */
  readonly id: string
  /** Resolves to its outcome, however it ends; rejects where that cannot be recorded. */
  readonly ended: Promise<Outcome>
  /** Hangs up; resolves to its outcome. Idempotent. */
  close(): Promise<Outcome>
}

/** A terminal, or the outcome of one that was not opened: blocked by policy, or by what a phase took away. */
export type OpenedTerminal =
  | { readonly kind: 'open'; readonly terminal: Terminal }
  | { readonly kind: 'ended'; readonly outcome: Outcome }
