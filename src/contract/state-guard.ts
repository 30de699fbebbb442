import { FormatError } from '../lib/sqlite.ts'
import { MayflyError, messageOf } from './error.ts'

/** Runs work on a file of the state folder. */
export type StateGuard = <T>(action: 'open' | 'read' | 'write', work: () => T) => T

/** Maps failures of a state file to MayflyError STATE; a MayflyError passes unchanged. `what`: such as `the effects`. */
export function stateGuard(what: string): StateGuard {
  return (action, work) => {
    try {
      return work()
    } catch (thrown) {
      if (thrown instanceof MayflyError) throw thrown
      throw new MayflyError('STATE', `Cannot ${action} ${what}: ${messageOf(thrown)}`, {
        hint:
          thrown instanceof FormatError
            ? 'Use the version of Mayfly that wrote it.'
            : 'Let the state folder exist, have free space, and belong to the user that runs Mayfly.',
        cause: thrown,
      })
    }
  }
}
