/**
 * Output whose reader has gone, as that of `mayfly audit list | head`, or whose terminal was closed. Node reports it as
 * an error event of the stream, and ends the process by a stack trace where there is no listener.
 */
let act = (): void => process.exit(process.exitCode ?? 0)

/** A command ends, because its reader has enough; what comes after the end of stderr's reader is lost. */
export function watchReaders(): void {
  process.stdout.on('error', heardOut)
  process.stderr.on('error', heardErr)
}

/** Leaves both to other listeners. */
export function unwatchReaders(): void {
  process.stdout.off('error', heardOut)
  process.stderr.off('error', heardErr)
}

function heardOut(error: Error): void {
  if (isGone(error)) act()
  else throw error
}

function heardErr(error: Error): void {
  if (!isGone(error)) throw error
}

/** Replaces the end of the process: ends a job in order, or goes on. */
export function onReaderGone(then: () => void): void {
  act = then
}

function isGone({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EPIPE' || code === 'EIO'
}
