import { accessSync, constants, existsSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'

/**
 * Folder for log, keys, leases and caches: the flag, else `MAYFLY_STATE`, else below `XDG_STATE_HOME` if that
 * is absolute, else /var/lib/mayfly for root and ~/.local/state/mayfly for others. Absolute. Creates nothing.
 * Throws RangeError if none applies.
 */
export function stateFolder(
  env: Readonly<Record<string, string | undefined>>,
  uid: number | undefined,
  flag?: string,
): string {
  const given = flag || env['MAYFLY_STATE']
  if (given) return resolve(given)
  const base = env['XDG_STATE_HOME']
  if (base && isAbsolute(base)) return join(base, 'mayfly')
  if (uid === 0) return '/var/lib/mayfly'
  const home = env['HOME'] || env['USERPROFILE']
  if (home) return join(home, '.local', 'state', 'mayfly')
  throw new RangeError('Cannot tell the state folder: give "--state" or set "MAYFLY_STATE"')
}

/** Hash-chained log. */
export const auditFile = (folder: string): string => join(folder, 'audit.db')

/**
 * The warden's folder: signing key and leases. A sibling of the state folder, because the server owns that one,
 * and a folder's owner can move its entries away; inside only if no sibling can be created.
 */
export function wardenFolder(folder: string): string {
  const beside = `${folder}-warden`
  return existsSync(beside) || canMakeIn(dirname(folder)) ? beside : join(folder, 'warden')
}

/** A folder that is not there yet would be made, in the nearest one above it that is: the answer stays the same then. */
function canMakeIn(folder: string): boolean {
  if (!existsSync(folder) && dirname(folder) !== folder) return canMakeIn(dirname(folder))
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Key and state of the signer, inaccessible to the server. */
export const signerFolder = (folder: string): string => join(wardenFolder(folder), 'keys')
/** Folder of replies of the analysis process, kept for later runs. */
export const repliesFolder = (folder: string): string => join(folder, 'replies')
/** Name in it of a mark that the last run had a known source. */
export const latestKnown = 'latest-known'

/** Guess whether the next run's source is known, too. */
export const wasLatestKnown = (folder: string): boolean =>
  existsSync(join(repliesFolder(folder), latestKnown))

/** Leases of live walls, one file each. */
export const leaseFolder = (folder: string): string => join(wardenFolder(folder), 'leases')
