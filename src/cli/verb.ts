import type { Command } from 'commander'
import { notRunExitCode, usageExitCode } from '../contract/exit-codes.ts'
import { printError, type Globals } from './print.ts'

/** Exit code of a command without a job, on failure or a negative result. */
export const failedExitCode = 1

/** Wraps the action of a command without a job: calls it with flags and arguments; exit codes 0, 1 and 2. */
export function verb(
  run: (flags: never, ...words: string[]) => Promise<void>,
): (...all: unknown[]) => Promise<void> {
  return async (...all) => {
    const command = all.at(-1) as Command
    const flags = command.optsWithGlobals<Globals>()
    try {
      await run(flags as never, ...command.args)
    } catch (thrown) {
      printError(thrown, flags.json ?? false)
      const isOwn = process.exitCode === usageExitCode || process.exitCode === notRunExitCode
      if (!isOwn) process.exitCode = failedExitCode
    }
  }
}
