const UID_INSIDE = '65534'
const namespaces = ['--unshare-all', '--die-with-parent', '--uid', UID_INSIDE, '--gid', UID_INSIDE]
const closed = ['--cap-drop', 'ALL', '--hostname', 'mayfly', '--clearenv']

/** Options of bubblewrap in each jail of a guest: all namespaces, no capabilities, no variables. */
export const isolated: readonly string[] = [...namespaces, ...closed]

/** Layers of such a jail, with its filter of system calls. */
export const bubblewrapLayers = [
  'seccomp',
  'user namespace',
  'network namespace',
  'pid namespace',
  'empty root',
] as const
