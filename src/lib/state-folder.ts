import { constants, existsSync, lstatSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { attempt } from './attempt.ts'
import { mayAccess } from './may-access.ts'

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
  throw new RangeError('Cannot determine the state folder: set "MAYFLY_STATE"')
}

/** Hash-chained log. */
export const auditFile = (folder: string): string => join(folder, 'audit.db')

/**
 * The warden's folder: signing key and leases. A sibling of the state folder, because the server owns that one,
 * and a folder's owner can move its entries away; inside only if no sibling can be created. Throws Error for one that another
 * user put there, as in `/tmp`.
 */
export function wardenFolder(folder: string): string {
  const beside = `${folder}-warden`
  assertOwn(beside, attempt(() => lstatSync(folder))?.uid)
  return existsSync(beside) || canMakeIn(dirname(folder)) ? beside : join(folder, 'warden')
}

/**
 * Throws Error for a state folder of another user, who can put other stores in it at any time. Not as root, who acts as its owner, or
 * gives it to nobody else (`start-server.ts`).
 */
export function assertOwnState(folder: string): void {
  if (process.geteuid?.() !== 0) assertOwn(folder)
}

/** Throws Error for a folder, or a link in its place, of another user than this one, root and `alike`. */
function assertOwn(folder: string, alike?: number): void {
  const self = process.geteuid?.()
  const stats = [lstatSync, statSync].map((of) => attempt(() => of(folder)))
  const stranger = stats.find((one) => one && ![self, 0, alike].includes(one.uid))
  if (self === undefined || !stranger) return
  throw new Error(
    `"${folder}" belongs to uid ${stranger.uid}: set "MAYFLY_STATE" to a folder of your own, where no other user can write`,
  )
}

/**
 * True if the folder can be created, judged by its nearest existing parent, so that the result is equal before and
 * after.
 */
function canMakeIn(folder: string): boolean {
  if (!existsSync(folder) && dirname(folder) !== folder) return canMakeIn(dirname(folder))
  return mayAccess(folder, constants.W_OK)
}

/** Key and state of the signer, inaccessible to the server. */
export const signerFolder = (folder: string): string => join(wardenFolder(folder), 'keys')
/** Folder of replies of the analysis process, kept for later runs. */
export const repliesFolder = (folder: string): string => join(folder, 'replies')
/** Name of a marker file in it: the last run had a known source. */
export const latestKnown = 'latest-known'

/** True if the last run had a known source, which predicts the next one. */
export const wasLatestKnown = (folder: string): boolean =>
  existsSync(join(repliesFolder(folder), latestKnown))

/** Leases of live walls, one file each. */
export const leaseFolder = (folder: string): string => join(wardenFolder(folder), 'leases')
