/**
 * Job statuses with the exit code of `mayfly run`. 2 is a usage error, which never becomes a job. Without imports, because
 * each module adds to the start-up time of the command line.
 */
export const exitCodeOf = {
  ok: 0,
  error: 1,
  blocked: 3,
  timeout: 4,
  limit: 5,
  terminated: 6,
  unavailable: 7,
  refused: 8,
  failed: 9,
  cancelled: 130,
} as const
export const usageExitCode = 2
/** Code of an exec that did not run, as in a session that is busy or has ended; that of other tools that pass codes on. */
export const notRunExitCode = 125

export type Status = keyof typeof exitCodeOf

/** Between a server and its warden: the server was denied a file that root may read, and nothing ran. */
export const deniedExitCode = 77
