import { MayflyError, messageOf } from '../contract/error.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { assertOwnState } from '../lib/state-folder.ts'

/** Makes a folder of the state, or below it, unless the state is another user's. Throws MayflyError STATE, which names the state folder. */
export function makeStateFolder(state: string, folderIn = (of: string) => of): void {
  try {
    assertOwnState(state)
    makeFolder(folderIn(state), 0o700)
  } catch (cause) {
    throw new MayflyError('STATE', `Cannot make the state folder "${state}": ${messageOf(cause)}`, {
      hint: 'Set "MAYFLY_STATE" to a folder of your own',
      cause,
    })
  }
}
