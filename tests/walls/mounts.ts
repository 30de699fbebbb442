import { spawnSync } from 'node:child_process'

/** Flags of `unshare` for a private mount namespace in which this user may mount. */
export function mountFlags(): readonly string[] {
  return process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount']
}

/** Reason why mounting is impossible here, or false. */
export function noMounts(): string | false {
  const tried = spawnSync('unshare', [...mountFlags(), 'mount', '-t', 'tmpfs', 'none', '/tmp'])
  return tried.status === 0 ? false : 'nobody here may mount'
}
