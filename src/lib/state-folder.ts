import { accessSync, constants, existsSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'

/**
 * The folder that holds log, keys, leases and caches: the flag, else `MAYFLY_STATE`, else below
 * `XDG_STATE_HOME` where that is an absolute path, else /var/lib/mayfly for root and ~/.local/state/mayfly for
 * others. Absolute. Creates nothing. Throws RangeError when nothing says where.
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

/** The hash-chained log. */
export const auditFile = (folder: string): string => join(folder, 'audit.db')

/**
 * What the warden keeps: the signing key and the leases. Beside the state folder, because the server owns that one,
 * and whoever owns a folder can move away what lies in it; inside only where nothing can be made beside it.
 */
export function wardenFolder(folder: string): string {
  const beside = `${folder}-warden`
  return existsSync(beside) || canMakeIn(dirname(folder)) ? beside : join(folder, 'warden')
}

function canMakeIn(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** The signer's key and what it remembers. The server has no business in it. */
export const signerFolder = (folder: string): string => join(wardenFolder(folder), 'keys')
/** What is alive, a file a wall. */
export const leaseFolder = (folder: string): string => join(wardenFolder(folder), 'leases')
