import { MayflyError } from '../contract/error.ts'
import { findProgram } from '../os/find-program.ts'

/** Starts a program in this very process as another user, who gains nothing by it. Only root can; returns never. */
export function startAs(
  user: { readonly uid: number; readonly gid: number },
  command: readonly string[],
): never {
  const setpriv = findProgram('setpriv')
  if (!setpriv) {
    throw new MayflyError('STATE', `Cannot act as uid ${user.uid}: setpriv is missing`, {
      hint: 'Install util-linux',
    })
  }
  const become = [
    '--reuid',
    `${user.uid}`,
    '--regid',
    `${user.gid}`,
    '--clear-groups',
    '--no-new-privs',
  ]
  process.execve?.(setpriv, [setpriv, ...become, '--', ...command], process.env)
  throw new MayflyError('STATE', 'Cannot start over as another user: this Node cannot')
}
