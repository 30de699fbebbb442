import { exitCodeOf } from '../contract/exit-codes.ts'
import type { Outcome } from '../contract/outcome.ts'
import { codeOfSignal } from '../lib/signal-name.ts'

/** 128 + signal number, as in shells, for a killed program; Mayfly's own exit code for an end that is not the program's. */
export function passedExitCode({
  status,
  exitCode,
  signal,
}: Pick<Outcome, 'status' | 'exitCode' | 'signal'>): number {
  const isOwn = status === 'ok' || status === 'error' || status === 'limit'
  if (!isOwn) return exitCodeOf[status]
  if (signal !== null) return codeOfSignal(signal)
  // A program may end well at a limit that its own child was killed at.
  return exitCode || exitCodeOf[status]
}
