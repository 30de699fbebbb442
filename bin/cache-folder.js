const { lstatSync, mkdirSync } = process.getBuiltinModule('node:fs')
const os = process.getBuiltinModule('node:os')
const { dirname, join } = process.getBuiltinModule('node:path')

/**
 * Finds or makes the compile cache: private to this user, mode 0700, because a writer of the cache controls the code
 * of the next start.
 *
 * @returns {string | undefined} undefined if no folder can be trusted; Mayfly then compiles at each start
 */
export function cacheFolder() {
  return candidates().find(isMadeAndOurs)
}

function candidates() {
  const uid = process.getuid ? process.getuid() : 'user'
  const temporary = join(os.tmpdir(), `mayfly-compiled-${uid}`)
  try {
    return [join(ownCache(), 'compiled'), temporary]
  } catch {
    return [temporary]
  }
}

/** Throws for a user without HOME and without an entry of its uid in /etc/passwd. */
export function ownCache() {
  return join(process.env.XDG_CACHE_HOME || join(os.homedir(), '.cache'), 'mayfly')
}

/** @param {string} folder */
function isMadeAndOurs(folder) {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (!process.getuid) return true
    const { uid, mode } = lstatSync(folder)
    const isPrivate = uid === process.getuid() && (mode & 0o077) === 0
    return isPrivate && parentsOf(folder).every(isSafeParent)
  } catch {
    return false
  }
}

/** @param {string} folder */
export function parentsOf(folder) {
  const parent = dirname(folder)
  return parent === folder ? [] : [parent, ...parentsOf(parent)]
}

/**
 * True if no other user can replace its entries: owned by us or root, and writable by others only with the sticky
 * bit.
 */
export function isSafeParent(folder) {
  const { uid, mode } = lstatSync(folder)
  const isOurs = uid === 0 || uid === process.getuid()
  return isOurs && ((mode & 0o022) === 0 || (mode & 0o1000) !== 0)
}
