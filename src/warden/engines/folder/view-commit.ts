import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fstatSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { gitNames, protectedName } from './protected-name.ts'
import { fileStateOf, statOf, type FileState, type ViewChange } from './view-changes.ts'
import { upperOf, type View } from './view-store.ts'

/**
 * Applies a view to its folder.
 *
 * Problem. The changes are based on files that may have changed since; and programs that run in the folder during the
 * commit may replace a folder by a symlink, to redirect a write (TOCTOU).
 *
 * Mechanism. First every change is checked against the state at the end of the command; after one difference nothing is
 * written. Then all new files are copied into one temporary folder on the same file system, which may fail with ENOSPC,
 * and only then renamed. Each path is resolved folder by folder without following symlinks (O_NOFOLLOW), and used by
 * the descriptor of its last folder (/proc/self/fd). A path that already equals the view counts as done, so an
 * interrupted commit continues when it is repeated.
 *
 * Not handled: a change in the microseconds between the last check of a file and its rename; hard links, extended
 * attributes.
 */
export interface CommitConflict {
  readonly path: string
  readonly why: string
}

/**
 * Applies all changes; returns their number. Throws MayflyError CONFLICT with the conflicts, or STATE with the number
 * of changes made so far.
 */
export function commitView(view: View): number {
  const root = openRoot(view)
  try {
    const { todo, conflicts } = checked(view, root)
    if (conflicts.length > 0) throw conflictError(view, conflicts)
    apply(view, root, todo)
    return view.changes.length
  } finally {
    closeSync(root)
  }
}

function openRoot({ folder, device, inode, id }: View): number {
  let root: number | undefined
  try {
    root = openSync(folder, FOLDER)
    const { dev, ino } = fstatSync(root, { bigint: true })
    if (`${dev}` === device && `${ino}` === inode) return root
  } catch {
    // Reported below, like another folder at this path.
  }
  if (root !== undefined) closeSync(root)
  throw new MayflyError('CONFLICT', `Cannot apply "${id}": "${folder}" is another folder now`, {
    hint: '"mayfly exec --diff" shows what is in it',
  })
}

function conflictError({ id, folder }: View, conflicts: readonly CommitConflict[]): MayflyError {
  const [first] = conflicts
  const more = conflicts.length > 1 ? `, and ${conflicts.length - 1} more` : ''
  const message = `Cannot apply "${id}" to "${folder}": ${first!.path} ${first!.why}${more}; nothing was changed`
  return new MayflyError('CONFLICT', message, {
    hint: 'See the changes with --diff, run the command again with --dry-run, or remove the view with --discard',
    details: { conflicts: conflicts.slice(0, 100) },
  })
}

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * Calls `work` with a path of the last component by its folder's descriptor; undefined if a parent is missing, or not a
 * folder.
 */
function within<T>(root: number, path: string, work: (own: string) => T): T | undefined {
  const folders = dirname(path) === '.' ? [] : dirname(path).split('/')
  let fd = root
  try {
    for (const name of folders) {
      const next = openFolder(`/proc/self/fd/${fd}/${name}`)
      if (fd !== root) closeSync(fd)
      fd = next ?? root
      if (next === undefined) return undefined
    }
    return work(`/proc/self/fd/${fd}/${basename(path)}`)
  } finally {
    if (fd !== root) closeSync(fd)
  }
}

function openFolder(path: string): number | undefined {
  try {
    return openSync(path, FOLDER)
  } catch (thrown) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes((thrown as NodeJS.ErrnoException).code ?? ''))
      return undefined
    throw thrown
  }
}

/* ---- the check ---- */

/** Changes to make, and conflicts. */
function checked(view: View, root: number) {
  const removed = new Set(view.changes.filter(({ to }) => to === null).map(({ path }) => path))
  const kept = view.changes.filter(({ to }) => to !== null)
  const added = new Set(kept.map(({ path }) => path.toLowerCase()))
  const todo: ViewChange[] = []
  const conflicts: CommitConflict[] = []
  for (const change of view.changes) {
    const refused = refusalOf(change) ?? repositoryRefusal(change, root, added)
    if (refused === undefined && isDone(view, root, change)) continue
    todo.push(change)
    conflicts.push(...(refused ? [refused] : conflictOf(root, change, removed)))
  }
  return { todo, conflicts }
}

function refusalOf({ path, to }: ViewChange): CommitConflict | undefined {
  const name = protectedName(path)
  if (name !== undefined) return { path, why: `is protected (${name})` }
  return to?.kind === 'other' ? { path, why: 'is not a file, folder or link' } : undefined
}

const REPOSITORY_NAMES = ['head', 'objects', 'refs', 'commondir']

/**
 * The wall lets no command make a git repository, or change the configuration of one; but two views may do it together,
 * and a folder may have become a repository since. `added` has the paths of the view, in lower case.
 */
function repositoryRefusal(
  { path, to }: ViewChange,
  root: number,
  added: ReadonlySet<string>,
): CommitConflict | undefined {
  if (to === null) return undefined
  const names = path.split('/')
  const isThere = (name: string) => within(root, name, statOf) !== undefined
  const willBeThere = (name: string) => added.has(name.toLowerCase()) || isThere(name)
  const isRefused = names.some((written, at) => {
    const name = written.toLowerCase()
    const isEntry = at === names.length - 1 && REPOSITORY_NAMES.includes(name)
    if (!gitNames.has(name) && !isEntry) return false
    const folder = names.slice(0, at).join('/')
    if (!isRepository(folder, willBeThere)) return false
    return gitNames.has(name) || !isRepository(folder, isThere)
  })
  return isRefused ? { path, why: 'is protected (a git repository)' } : undefined
}

function isRepository(folder: string, has: (path: string) => boolean): boolean {
  const hasEntry = (name: string) => has(join(folder, name))
  if (!hasEntry('HEAD')) return false
  return hasEntry('commondir') || (hasEntry('objects') && hasEntry('refs'))
}

function conflictOf(
  root: number,
  { path, to, was, isTorn }: ViewChange,
  removed: ReadonlySet<string>,
): readonly CommitConflict[] {
  const say = (why: string) => [{ path, why }]
  if (isTorn) return say('was changed while the command ran')
  const now = within(root, path, statOf)
  // The change before removes the entry at this path.
  if (was === null && removed.has(path)) return []
  if (!was) return now ? say('was made meanwhile') : []
  if (!now) return say('was removed meanwhile')
  if (!isAsBefore(fileStateOf(now), was)) return say('was changed meanwhile')
  return to === null && was.kind === 'folder' ? addedIn(root, path, removed) : []
}

function isAsBefore(now: FileState, was: FileState): boolean {
  // A folder's times change with removals of its entries, so only its identity is compared.
  if (now.kind === 'folder') return was.kind === 'folder' && now.inode === was.inode
  return (Object.keys(was) as (keyof FileState)[]).every((key) => now[key] === was[key])
}

/** Files in a removed folder that are not in the view. */
function addedIn(
  root: number,
  path: string,
  known: ReadonlySet<string>,
): readonly CommitConflict[] {
  const names = within(root, path, (own) => readdirSync(own)) ?? []
  return names
    .map((name) => join(path, name))
    .filter((one) => !known.has(one))
    .map((one) => ({ path: one, why: 'was made meanwhile' }))
}

/** True if the folder is already in the state of the view, also by another program's change. */
function isDone(view: View, root: number, { path, to }: ViewChange): boolean {
  if (to === null) return within(root, path, statOf) === undefined
  return within(root, path, (own) => isEqual(own, join(upperOf(view), path))) === true
}

/** True if two paths have the same kind of file with equal content and permissions. */
function isEqual(one: string, other: string): boolean {
  const [a, b] = [statOf(one), statOf(other)]
  if (!a || !b || a.mode !== b.mode) return false
  if (a.isSymbolicLink()) return readlinkSync(one) === readlinkSync(other)
  if (!a.isFile()) return a.isDirectory()
  return a.size === b.size && readFileSync(one).equals(readFileSync(other))
}

/* ---- the change ---- */

function apply(view: View, root: number, todo: readonly ViewChange[]): void {
  const stage = `.mayfly-commit-${randomBytes(6).toString('hex')}`
  const staged = `/proc/self/fd/${root}/${stage}`
  let done = 0
  mkdirSync(staged, { mode: 0o700 })
  try {
    todo.forEach(({ path, to }, at) => {
      if (to?.kind === 'file') copyInto(join(upperOf(view), path), join(staged, `${at}`))
      if (to?.kind === 'link')
        symlinkSync(readlinkSync(join(upperOf(view), path)), join(staged, `${at}`))
    })
    for (const [at, change] of todo.entries()) {
      const isMade = within(root, change.path, (own) => {
        step(change, own, join(staged, `${at}`))
        return true
      })
      if (!isMade) throw new Error(`the folder of "${change.path}" is gone, or a link now`)
      done++
    }
  } catch (thrown) {
    const message = `Cannot apply "${view.id}" further: ${messageOf(thrown)}; ${done} changes are made`
    throw new MayflyError('STATE', message, {
      hint: 'Remove the cause; "mayfly exec --commit" then applies the rest',
      cause: thrown,
    })
  } finally {
    rmSync(staged, { recursive: true, force: true })
  }
}

function step({ to, was }: ViewChange, own: string, staged: string): void {
  if (to === null) {
    if (was?.kind === 'folder') rmdirSync(own)
    else unlinkSync(own)
  } else if (to.kind === 'folder') {
    if (!statOf(own)) mkdirSync(own, { mode: 0o700 })
    const fd = openSync(own, FOLDER)
    fchmodSync(fd, to.mode)
    closeSync(fd)
  } else renameSync(staged, own)
}

/** Copies content, permissions and times, but not setuid and setgid bits. */
function copyInto(from: string, to: string): void {
  copyFileSync(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  const { mode, atime, mtime } = lstatSync(from)
  const fd = openSync(to, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    fchmodSync(fd, mode & 0o777)
    futimesSync(fd, atime, mtime)
  } finally {
    closeSync(fd)
  }
}
