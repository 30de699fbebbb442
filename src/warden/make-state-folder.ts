import { MayflyError, messageOf } from '../contract/error.ts'
import { makeFolder } from '../lib/make-folder.ts'

/** Makes a folder of the state, or below it. Throws MayflyError STATE, which names the state folder. */
export function makeStateFolder(folder: string, state = folder): void {
  try {
    makeFolder(folder, 0o700)
  } catch (cause) {
    throw new MayflyError('STATE', `Cannot make the state folder "${state}": ${messageOf(cause)}`, {
      hint: 'Set "MAYFLY_STATE" to a folder of your own',
      cause,
    })
  }
}
