import type { Command } from 'commander'
import { usageExitCode } from '../contract/outcome.ts'
import { printError, type Globals } from './print.ts'

/** What a command that runs no job exits with when it could not, or when what it looked at is not as it should be. */
export const failedExitCode = 1

/** The action of a command that runs no job, given its flags and first argument: its exit codes are 0, 1 and 2. */
export function verb(
  run: (flags: never, argument: string) => Promise<void>,
): (...all: unknown[]) => Promise<void> {
  return async (...all) => {
    const command = all.at(-1) as Command
    const flags = command.optsWithGlobals<Globals>()
    try {
      await run(flags as never, command.args[0] ?? '')
    } catch (thrown) {
      printError(thrown, flags.json ?? false)
      if (process.exitCode !== usageExitCode) process.exitCode = failedExitCode
    }
  }
}
