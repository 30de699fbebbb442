import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { attempt } from '../../../lib/attempt.ts'
import { newId } from '../../../lib/id.ts'
import { makeFolder } from '../../../lib/make-folder.ts'
import { replacePrivate } from '../../../lib/private-file.ts'
import { parseJson } from '../../../lib/parse-json.ts'
import { wardenFolder } from '../../../lib/state-folder.ts'
import { tryLock } from '../../../os/libc.js'
import { makeRemovable } from '../hostile-folder.ts'
import { changesIn, viewChange, type ViewChange } from './view-changes.ts'

/**
 * Views of folders, below the state folder: changes of commands of `mayfly exec --dry-run`, each in a folder of its
 * own.
 *
 * Problem. A command should work on the current folder without changing it; the user later reviews the changes, and
 * commits or discards them.
 *
 * Mechanism. `upper` is the upper folder of an overlayfs that the wall mounts over the folder; it has copies of changed
 * files, and whiteouts of removed ones. After the end of the command the changes are listed in `changes.json`, each
 * with the state of the file that it would replace, so that a commit can detect concurrent changes. A view is locked by
 * the process that makes it; if that process was killed, the next process that opens the view lists its changes.
 *
 * Relies on the state folder, or as root the warden's beside it, which are not visible in a wall, and on overlayfs with `userxattr`. Not handled: a view on
 * top of another view.
 */
const viewsMax = 64
/** Most views that an error names. */
const NAMED_MAX = 3
const idPattern = /^view_[0-9a-f]{32}$/
/** Age at which a view without its lock is not in the making any more. */
const makingMsMax = 60_000
/** Suffix of a view that is being removed. */
const GONE = '.gone'

const viewFile = z.strictObject({
  format: z.literal(1),
  id: z.string().regex(idPattern),
  folder: z.string(),
  device: z.string(),
  inode: z.string(),
  command: z.array(z.string()),
  createdAt: z.number(),
  /** Creation time of the view (ctime of its lock file) in nanoseconds since 1970. */
  sinceNs: z.string(),
})
const changesFile = z.strictObject({ format: z.literal(1), changes: z.array(viewChange) })

export type ViewFacts = z.infer<typeof viewFile>

export interface View extends ViewFacts {
  /** Folder of the view. */
  readonly place: string
  readonly changes: readonly ViewChange[]
}

/** A view whose command may run. */
export interface OpenView {
  readonly id: string
  readonly upper: string
  readonly work: string
  /** Lists the changes of the command, after its end. */
  seal(): View
  /** Removes it, if the command never ran. */
  drop(): void
}

/** Views of root are not in a state folder that root gave to its server, which could change what root commits. */
const viewsFolder = (state: string) =>
  join(process.geteuid?.() === 0 ? wardenFolder(state) : state, 'views')
export const upperOf = ({ place }: Pick<View, 'place'>): string => join(place, 'upper')

/** Makes a view of a folder. Throws MayflyError CONFLICT beyond 64 views, STATE if the state folder is not writable. */
export function makeView(state: string, folder: string, command: readonly string[]): OpenView {
  const all = viewsFolder(state)
  try {
    makeFolder(all, 0o700)
    removeLeftovers(all)
    if (idsIn(all).filter((id) => isMade(join(all, id))).length >= viewsMax)
      throw new MayflyError('CONFLICT', `Cannot keep more than ${viewsMax} views`, {
        hint: 'Remove some with "mayfly exec --discard ID"; "mayfly exec --views" lists them',
      })
    const id = newId('view')
    const place = join(all, id)
    for (const name of ['', 'upper', 'work']) mkdirSync(join(place, name), { mode: 0o700 })
    const lock = lockOf(place)
    if (lock === undefined) throw new Error('its lock is taken')
    const { dev, ino, mode } = lstatSync(folder, { bigint: true })
    chmodSync(join(place, 'upper'), Number(mode) & 0o777)
    const facts = {
      format: 1 as const,
      id,
      folder,
      device: `${dev}`,
      inode: `${ino}`,
      command: [...command],
      createdAt: Date.now(),
      sinceNs: `${lstatSync(join(place, 'lock'), { bigint: true }).ctimeNs}`,
    }
    replacePrivate(join(place, 'view.json'), () => JSON.stringify(facts))
    return {
      id,
      upper: join(place, 'upper'),
      work: join(place, 'work'),
      seal() {
        const view = sealed(place, facts)
        closeSync(lock)
        return view
      },
      drop() {
        removeView({ place })
        closeSync(lock)
      },
    }
  } catch (thrown) {
    throw thrown instanceof MayflyError ? thrown : cannot('make a view', thrown)
  }
}

/** Views of a folder, or all views, newest first, including those of running commands. */
export function listViews(state: string, folder?: string): readonly ViewFacts[] {
  const all = viewsFolder(state)
  return idsIn(all)
    .map((id) => factsOf(join(all, id)))
    .filter((one) => one !== undefined)
    .filter((one) => folder === undefined || one.folder === folder)
    .toReversed()
}

/**
 * The named view, or the newest one of this folder. Throws MayflyError NOT_FOUND without one, CONFLICT while its command runs, STATE for
 * one whose changes cannot be listed.
 */
export function openView(state: string, folder: string, id: string | undefined): View {
  const { lock, place, facts } = lockedView(state, folder, id)
  try {
    return withChanges(place, facts)
  } catch (thrown) {
    throw thrown instanceof MayflyError ? thrown : cannot(`read the view "${facts.id}"`, thrown)
  } finally {
    closeSync(lock)
  }
}

/**
 * Removes the view that `openView` opens, also if its changes cannot be listed: a path of its command is too long, or a name no
 * UTF-8. Returns its changes, if they can. Throws as `openView` does, but for STATE.
 */
export function discardView(
  state: string,
  folder: string,
  id: string | undefined,
): ViewFacts & { readonly changes: readonly ViewChange[] | undefined } {
  const { lock, place, facts } = lockedView(state, folder, id)
  try {
    const changes = attempt(() => withChanges(place, facts).changes)
    removeView({ place })
    return { ...facts, changes }
  } finally {
    closeSync(lock)
  }
}

function lockedView(state: string, folder: string, id: string | undefined) {
  const wanted = id ?? listViews(state, folder)[0]?.id
  const place = join(viewsFolder(state), wanted ?? '')
  const facts = wanted !== undefined && idPattern.test(wanted) ? factsOf(place) : undefined
  if (wanted === undefined || !facts) {
    const what = wanted === undefined ? `a view of "${folder}"` : `the view "${wanted}"`
    throw new MayflyError('NOT_FOUND', `Cannot find ${what}`, { hint: viewsHint(state) })
  }
  const lock = lockOf(place)
  if (lock !== undefined) return { lock, place, facts }
  throw new MayflyError('CONFLICT', `Cannot open the view "${wanted}": its command runs`, {
    hint: 'Wait for its end, or end the command',
  })
}

/** Names the views that there are, or the command that makes one. */
function viewsHint(state: string): string {
  const all = listViews(state)
  if (all.length === 0) return 'There is none: "mayfly exec --dry-run -- COMMAND" makes one'
  const named = all.slice(0, NAMED_MAX).map(({ id, folder }) => `${id} of "${folder}"`)
  const isMore = all.length > NAMED_MAX ? ' …; "mayfly exec --views" lists all' : ''
  return `The newest: ${named.join(', ')}${isMore}`
}

function withChanges(place: string, facts: ViewFacts): View {
  const known = readJson(join(place, 'changes.json'))
  if (known === undefined) return sealed(place, facts)
  return { ...facts, place, changes: changesFile.parse(known).changes }
}

/** Removes a view with all that is in it. */
export function removeView({ place }: Pick<View, 'place'>): void {
  removeWork(place)
  const gone = `${place}${GONE}`
  renameSync(place, gone)
  removeGone(gone)
}

function removeGone(gone: string): void {
  makeRemovable(gone)
  rmSync(gone, { recursive: true, force: true })
}

/** Completes removals whose process was killed, and removes views whose process was killed before the command ran. */
function removeLeftovers(all: string): void {
  for (const name of readdirSync(all)) {
    const place = join(all, name)
    if (name.endsWith(GONE)) attempt(() => removeGone(place))
    else if (idPattern.test(name) && !isMade(place)) attempt(() => removeUnmade(place))
  }
}

function removeUnmade(place: string): void {
  if (Date.now() - lstatSync(place).mtimeMs < makingMsMax) return
  const lock = lockOf(place)
  if (lock === undefined) return
  try {
    if (!isMade(place)) removeView({ place })
  } finally {
    closeSync(lock)
  }
}

const isMade = (place: string): boolean => existsSync(join(place, 'view.json'))

/** Removes the work folder of overlayfs, in which the kernel leaves a folder of mode 0. */
function removeWork(place: string): void {
  const inner = join(place, 'work/work')
  if (existsSync(inner)) chmodSync(inner, 0o700)
  rmSync(join(place, 'work'), { recursive: true, force: true })
}

function sealed(place: string, facts: ViewFacts): View {
  const changes = changesIn(join(place, 'upper'), facts.folder, BigInt(facts.sinceNs))
  replacePrivate(join(place, 'changes.json'), () => JSON.stringify({ format: 1, changes }))
  removeWork(place)
  return { ...facts, place, changes }
}

function idsIn(folder: string): readonly string[] {
  return existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => idPattern.test(name))
        .sort()
    : []
}

function factsOf(place: string): ViewFacts | undefined {
  return viewFile.safeParse(readJson(join(place, 'view.json'))).data
}

function readJson(file: string): unknown {
  return attempt(() => parseJson(readFileSync(file, 'utf8')))
}

/** Descriptor of the lock, which is held until it is closed; undefined if another process has the lock. */
function lockOf(place: string): number | undefined {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
  const fd = openSync(join(place, 'lock'), flags, 0o600)
  if (tryLock(fd)) return fd
  closeSync(fd)
  return undefined
}

function cannot(what: string, thrown: unknown): MayflyError {
  return new MayflyError('STATE', `Cannot ${what}: ${messageOf(thrown)}`, { cause: thrown })
}
