/**
 * Reads of files that only their owner may read, by a command of root that acts as another user.
 *
 * Problem: the command line of root acts as the server's uid (seteuid) before it reads, so that neither planted links nor untrusted
 * bytes meet a process with root's rights. Root's own files are often private (`/root` is 0700, umask 077), as are those of the
 * user of `sudo`.
 *
 * Mechanism: each call first acts with the rights of that uid. Where a file or folder denies it, and the real uid is still root, the
 * call acts as the owner of what denied it. Another user's rights reach no further than that user could. The path must be one that
 * root alone can change, or for another user's rights root and that user: confused deputy, nobody else must choose the file.
 *
 * Relies on seteuid(2), which binds every thread: all is synchronous, and no other work on files may be under way.
 */
import fs from 'node:fs'
import path from 'node:path'
import { attempt } from './attempt.ts'
import { isBelow } from './is-below.ts'
import { examinePath } from './trusted-path.ts'

const ROOT = 0
const LINKS_MAX = 40
const STICKY = 0o1000
const WRITABLE_BY_OTHERS = 0o022
const WRITABLE_BY_ALL = 0o002
/** Group and others may enter a folder. */
const ENTERED_BY_OTHERS = 0o011
const FOLDERS_MAX = 10_000
/** Open descriptors of this process, by path. */
const OWN_DESCRIPTOR = /^\/(?:dev|proc\/self)\/fd\/\d+$/

/** File or folder at which this process may not go on. */
export interface PathBarrier {
  readonly path: string
  readonly uid: number
  readonly mode: number
  readonly isFolder: boolean
  /** True if root alone, or with the owner alone, can change that the path leads there. */
  readonly isGuarded: boolean
}

let isDenied = false
/** By folder of a path: folder, the same or above, that denies it. */
const closers = new Map<string, PathBarrier>()

/** True if a call was denied that could succeed in a process that was started by root. */
export const wasDenied = (): boolean => isDenied

/** True if this process acts as another user and can still act as root. */
const actsForRoot = (): boolean => process.getuid?.() === ROOT && process.geteuid?.() !== ROOT

/**
 * Result of `act`, a synchronous read at `place`, or at what it leads to. Errors of `act` are thrown. `follows` is false if `act` reads a
 * link itself.
 */
export function asOwner<T>(place: string, act: (at: string) => T, follows = true): T {
  try {
    return act(place)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException | undefined)?.code !== 'EACCES') throw thrown
    if (!actsForRoot()) {
      isDenied = true
      throw thrown
    }
    const absolute = path.resolve(place)
    const closed = closedFrom(absolute)
    if (closed.uid !== ROOT && !closed.isGuarded) throw thrown
    if (closed.uid !== ROOT) return asUser(closed.uid, () => act(place))
    return asUser(ROOT, () => {
      const at = OWN_DESCRIPTOR.test(place) ? place : ownPath(absolute, follows, closed)
      if (at === undefined) throw thrown
      return act(at)
    })
  }
}

/** Facts of a file or folder, as of stat(2); undefined if there is none or if it cannot be looked at. */
export function statAsOwner(place: string): fs.Stats | undefined {
  return attempt(() => asOwner(place, (at) => fs.statSync(at)))
}

/** Opens a file to write it anew; with rights of another user than this process acts as, no link of that name. */
export function openToWrite(place: string): number {
  const own = process.geteuid?.()
  return asOwner(path.dirname(place), (folder) => {
    if (process.geteuid?.() === own) return fs.openSync(place, 'w')
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = fs.constants
    const file = path.join(folder, path.basename(place))
    return fs.openSync(file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW)
  })
}

function asUser<T>(uid: number, act: () => T): T {
  const own = process.geteuid!()
  process.seteuid!(ROOT)
  try {
    if (uid !== ROOT) process.seteuid!(uid)
    return act()
  } finally {
    if (uid !== ROOT) process.seteuid!(ROOT)
    process.seteuid!(own)
  }
}

function closedFrom(absolute: string): PathBarrier {
  const folder = path.dirname(absolute)
  const known = closers.get(folder)
  if (known) return known
  const closed = closedPath(absolute)
  if (closers.size >= FOLDERS_MAX) closers.clear()
  if (isBelow(folder, closed.path)) closers.set(folder, closed)
  return closed
}

/** Barrier for this process on an absolute path; the end of the path if it may enter all folders. */
export function closedPath(absolute: string): PathBarrier {
  const ahead = absolute.split('/').toReversed()
  let at = '/'
  const passed = [fs.lstatSync(at)]
  for (let links = 0; ahead.length > 0 && links <= LINKS_MAX;) {
    const next = path.join(at, ahead.pop()!)
    const facts = attempt(() => fs.lstatSync(next))
    if (!facts) break
    passed.push(facts)
    if (facts.isSymbolicLink()) {
      links++
      const target = fs.readlinkSync(next)
      ahead.push(...target.split('/').toReversed())
      if (path.isAbsolute(target)) at = '/'
    } else at = next
  }
  const facts = fs.lstatSync(at)
  const { uid, mode } = facts
  const isGuarded = passed.every((one) => isGuard(one, uid))
  return { path: at, uid, mode, isFolder: facts.isDirectory(), isGuarded }
}

/**
 * True if root or `uid` alone can replace it, a link, or what is in it, a folder; in a sticky one each owner their own. A group may
 * write to folders of a user other than root: a link that it makes there has another owner.
 */
function isGuard(facts: fs.Stats, uid: number): boolean {
  const others = uid === ROOT ? WRITABLE_BY_OTHERS : WRITABLE_BY_ALL
  const isShared = (facts.mode & others) !== 0 && (facts.mode & STICKY) === 0
  return (facts.uid === ROOT || facts.uid === uid) && (facts.isSymbolicLink() || !isShared)
}

/**
 * Path without links if root alone can change where it leads, as a folder that root alone may enter does; undefined otherwise, and for
 * devices, sockets and FIFOs, since opening one may have an effect. Throws the errors of lstat(2).
 */
function ownPath(absolute: string, follows: boolean, closed: PathBarrier): string | undefined {
  const named = follows ? absolute : path.dirname(absolute)
  const real = fs.realpathSync(named)
  const isInside = isShut(closed) && isBelow(real, closed.path)
  if (!isInside && !isOwn(named)) return undefined
  const at = follows ? real : path.join(real, path.basename(absolute))
  const facts = fs.lstatSync(at)
  const isPlain = facts.isFile() || facts.isDirectory() || facts.isSymbolicLink()
  return isPlain ? at : undefined
}

/** True for a folder of root's that nobody else may enter, so that none of them changes what is below. */
const isShut = ({ isFolder, mode, isGuarded }: PathBarrier): boolean =>
  isFolder && (mode & ENTERED_BY_OTHERS) === 0 && isGuarded

const isOwn = (place: string): boolean =>
  examinePath(place, { owners: new Set([ROOT]), kind: 'folder' }).isTrusted
