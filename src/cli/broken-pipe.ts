import { exitCodeOf } from '../contract/exit-codes.ts'

/**
 * EPIPE and EIO on stdout and stderr: the reader exited, as in `mayfly audit list | head`, or the terminal was closed. Node
 * emits 'error' on the stream, and an unhandled one ends the process with a stack trace. Any other error, such as ENOSPC of a
 * redirection, ends the process with a message.
 */
let onStdoutError = (): void => process.exit(process.exitCode ?? 0)

/** Exits when the reader of stdout is gone; output to a gone reader of stderr is dropped. */
export function watchReaders(): void {
  process.stdout.on('error', handleStdout)
  process.stderr.on('error', handleStderr)
}

/** Removes both listeners. */
export function unwatchReaders(): void {
  process.stdout.off('error', handleStdout)
  process.stderr.off('error', handleStderr)
}

function handleStdout(error: Error): void {
  if (isGone(error)) return onStdoutError()
  process.stderr.write(`mayfly: Cannot write to standard output: ${error.message}\n`)
  process.exit(exitCodeOf.failed)
}

function handleStderr(error: Error): void {
  if (!isGone(error)) process.exit(exitCodeOf.failed)
}

/** Replaces the exit of the process, to end a job in order or to continue. */
export function onReaderGone(then: () => void): void {
  onStdoutError = then
}

function isGone({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EPIPE' || code === 'EIO'
}
