const UID_INSIDE = '65534'
const namespaces = ['--unshare-all', '--die-with-parent', '--uid', UID_INSIDE, '--gid', UID_INSIDE]
const closed = ['--cap-drop', 'ALL', '--hostname', 'mayfly', '--clearenv']

/** Options of bubblewrap in each jail of a guest: all namespaces, no capabilities, no variables. */
export const isolated: readonly string[] = [...namespaces, ...closed]

/**
 * Command prefix that changes to the uid of a wall, if it has one, and sets the parent-death signal afterwards, because the
 * kernel clears it when the uid changes (prctl(2)).
 */
export function asWallUser(setpriv: string, uid: number | undefined): readonly string[] {
  const become = uid === undefined ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
  return [setpriv, ...become, '--pdeathsig=KILL', '--']
}
