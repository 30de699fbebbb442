import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { dirname, join, resolve, sep } from 'node:path'
import { shellWord } from './shell-word.ts'

/**
 * Finds out whether anybody but trusted users could have written a file, or could put another in its place.
 *
 * Each name of the path is examined as the kernel resolves it, symbolic links included: the link's own folder matters,
 * since its owner chooses the target. A name is trusted if its owner is, and if nobody else may write to it. Folders
 * above the one of the file may also be sticky (`/tmp`), because the kernel then lets only the owner of an entry (or of
 * the folder) rename or remove it; the folder of the file itself may not, because others could add files there.
 *
 * Relies on: `lstat` modes, in which the group bits of a file with a POSIX ACL are the ACL's mask; sticky folders as in
 * unlink(2). A path that passed cannot be changed by others afterwards, so there is no race between check and use. Not
 * handled: other users' mounts on top of a path, which need root; hard links, since owner and mode belong to the inode.
 */
export interface PathTrust {
  /** User ids that may own a name of the path. */
  readonly owners: ReadonlySet<number>
  readonly kind: 'file' | 'folder'
}

export type TrustedPath =
  | {
      readonly isTrusted: true
      /** Without links. */
      readonly real: string
      /** Every name that was looked up, links included. */
      readonly names: readonly string[]
      readonly stats: Stats
    }
  | {
      readonly isTrusted: false
      /** The name at fault: the path itself or one above. */
      readonly at: string
      readonly reason: string
      readonly fix: string
    }

/** As many as the kernel follows (MAXSYMLINKS). */
const linksMax = 40
const writable = 0o022
const stickyBit = 0o1000

/** Examines an absolute path. Throws as `lstat` does if a name is missing or unreadable, and for a loop of links. */
export function examinePath(path: string, trust: PathTrust): TrustedPath {
  const pending = namesOf(path)
  const names: string[] = []
  let links = 0
  let at: string = sep
  let stats = lstatSync(at)
  for (;;) {
    const fault = faultOf(at, stats, pending.length, trust)
    if (fault) return fault
    const name = pending.shift()
    if (name === undefined) return { isTrusted: true, real: at, names, stats }
    const next = join(at, name)
    names.push(next)
    const found = lstatSync(next)
    if (!found.isSymbolicLink()) {
      at = next
      stats = found
      continue
    }
    const stranger = ownerFault(next, found, trust)
    if (stranger) return stranger
    if (++links > linksMax) throw new Error(`too many links in "${path}"`)
    pending.unshift(...namesOf(resolve(dirname(next), readlinkSync(next))))
    at = sep
    stats = lstatSync(at)
  }
}

function namesOf(path: string): string[] {
  return path.split(sep).filter((name) => name !== '')
}

/** `below`: number of names that are still to come. */
function faultOf(
  at: string,
  stats: Stats,
  below: number,
  trust: PathTrust,
): Extract<TrustedPath, { isTrusted: false }> | undefined {
  const stranger = ownerFault(at, stats, trust)
  if (stranger) return stranger
  const isSticky = stats.isDirectory() && (stats.mode & stickyBit) !== 0
  if ((stats.mode & writable) === 0 || (isSticky && below > (trust.kind === 'file' ? 1 : 0)))
    return undefined
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0')
  const who = (stats.mode & 0o002) === 0 ? 'its group' : 'everybody'
  return {
    isTrusted: false,
    at,
    reason: `${who} may write to "${at}" (mode ${mode})`,
    fix: isSticky
      ? 'Move it to a folder that only you or root may write to'
      : `chmod go-w ${shellWord(at)}`,
  }
}

function ownerFault(
  at: string,
  { uid }: Stats,
  { owners }: PathTrust,
): Extract<TrustedPath, { isTrusted: false }> | undefined {
  if (owners.has(uid)) return undefined
  const trusted = [...owners].map((owner) => (owner === 0 ? 'root' : `uid ${owner}`)).join(' or ')
  return {
    isTrusted: false,
    at,
    reason: `"${at}" belongs to uid ${uid}, not to ${trusted}`,
    fix: `chown ${[...owners].at(-1)} ${shellWord(at)}, or move it to a folder of ${trusted}`,
  }
}
