import { spawnSync } from 'node:child_process'

/** For `unshare`: a namespace in which this user may mount, and nobody else sees what. */
export function mountFlags(): readonly string[] {
  return process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount']
}

/** Why nobody here may, or false. */
export function noMounts(): string | false {
  const tried = spawnSync('unshare', [...mountFlags(), 'mount', '-t', 'tmpfs', 'none', '/tmp'])
  return tried.status === 0 ? false : 'nobody here may mount'
}
