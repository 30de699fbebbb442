import { lstatSync, readdirSync, readlinkSync, type BigIntStats } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { extendedAttribute } from '../../../os/libc.js'

/**
 * Changes of a view, read from the upper folder of an overlay (Documentation/filesystems/overlayfs.rst): a character
 * device of number 0:0 is a whiteout of the lower file, an opaque folder hides all of the lower folder, other files
 * replace lower ones.
 */
const kind = z.enum(['file', 'folder', 'link', 'other'])
/** State of a file of the folder when the command had ended. */
const fileState = z.strictObject({
  kind,
  inode: z.string(),
  bytes: z.string(),
  mode: z.number(),
  modifiedNs: z.string(),
  changedNs: z.string(),
})
export const viewChange = z.strictObject({
  /** Relative to the folder. */
  path: z.string(),
  /** Kind in the view; null if it was removed. */
  to: z.strictObject({ kind, mode: z.number() }).nullable(),
  /** State in the folder; null if it did not exist. */
  was: fileState.nullable(),
  /** True if another program changed the file in the folder while the command ran. */
  isTorn: z.boolean(),
})

export type FileState = z.infer<typeof fileState>
export type ViewChange = z.infer<typeof viewChange>

const OPAQUE = 'user.overlay.opaque'
const PERMISSIONS = 0o7777

/** Lists changes: a new folder before its entries, a removed one after them. Throws the error of the file system. */
export function changesIn(upper: string, folder: string, sinceNs: bigint): readonly ViewChange[] {
  const changes: ViewChange[] = []
  const add = (path: string, to: ViewChange['to'], below: BigIntStats | undefined) => {
    const was = below ? fileStateOf(below) : null
    changes.push({ path, to, was, isTorn: below !== undefined && below.ctimeNs >= sinceNs })
  }
  const removeTree = (path: string) => {
    const below = statOf(join(folder, path))
    if (!below) return
    if (below.isDirectory())
      for (const name of namesIn(join(folder, path))) removeTree(join(path, name))
    add(path, null, below)
  }
  const walk = (path: string, isNew: boolean) => {
    const isOpaque = isNew || extendedAttribute(join(upper, path), OPAQUE)?.toString() === 'y'
    const names = namesIn(join(upper, path))
    if (isOpaque && !isNew)
      for (const name of namesIn(join(folder, path)))
        if (!names.includes(name)) removeTree(join(path, name))
    for (const name of names) take(join(path, name), isNew)
  }
  const take = (path: string, isNew: boolean) => {
    const facts = lstatSync(join(upper, path), { bigint: true })
    if (facts.isCharacterDevice() && facts.rdev === 0n) return removeTree(path)
    const below = isNew ? undefined : statOf(join(folder, path))
    const replaces = below !== undefined && fileKindOf(below) !== fileKindOf(facts)
    if (replaces) removeTree(path)
    const found = replaces ? undefined : below
    const to = { kind: fileKindOf(facts), mode: Number(facts.mode) & PERMISSIONS }
    if (!isSame(found, facts, join(folder, path), join(upper, path))) add(path, to, found)
    if (facts.isDirectory()) walk(path, found === undefined)
  }
  walk('', false)
  return changes
}

export function fileStateOf(facts: BigIntStats): FileState {
  return {
    kind: fileKindOf(facts),
    inode: `${facts.ino}`,
    bytes: `${facts.size}`,
    mode: Number(facts.mode) & PERMISSIONS,
    modifiedNs: `${facts.mtimeNs}`,
    changedNs: `${facts.ctimeNs}`,
  }
}

export function fileKindOf(facts: BigIntStats): z.infer<typeof kind> {
  if (facts.isFile()) return 'file'
  if (facts.isDirectory()) return 'folder'
  return facts.isSymbolicLink() ? 'link' : 'other'
}

export function statOf(path: string): BigIntStats | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })
}

/** True for a folder that was only traversed, or an equal link. Files are compared later, in a diff. */
function isSame(
  below: BigIntStats | undefined,
  facts: BigIntStats,
  lower: string,
  upper: string,
): boolean {
  if (!below || fileKindOf(below) !== fileKindOf(facts)) return false
  if (facts.isDirectory()) return below.mode === facts.mode
  if (facts.isSymbolicLink()) return readlinkSync(lower) === readlinkSync(upper)
  return false
}

function namesIn(folder: string): readonly string[] {
  return statOf(folder)?.isDirectory() ? readdirSync(folder).sort() : []
}
