import { randomBytes } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
} from 'node:fs'
import path from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'
import { openToRead, piecesOf, readAt } from '../lib/file-descriptor.ts'
import { bootId, isOwnerAlive, thisOwner } from '../lib/owner.ts'
import { makeCacheFolder } from '../lib/cache-folder.ts'
import { walkFolder } from '../lib/walk-folder.ts'
import { openMaker, ownArchitecture, type ImageWork } from './build.ts'
import { writeCanonicalTar, type ImageEntry } from './canonical-tar.ts'
import { diskFull, imageError, saysDiskFull } from './image-error.ts'
import { uuidOf, writeErofsTool } from './make-file-system.ts'
import { runTool } from './run-program.ts'
import { openSpool } from './spool.ts'
import { whyImageBroken, type StoredImage } from './store.ts'
import { modeOf } from './tree.ts'

/**
 * Unpacks the files of an image into a folder.
 *
 * fsck.erofs of the locked packages writes them, and the canonical stream is computed again from them. Its SHA-256
 * must begin with the UUID of the file system, which the build derived from the original stream: this proves that the
 * files are unchanged. Walls without a loop device use such a folder as their root, named by the digest of the image.
 */
interface ImageExtraction extends ImageWork {
  readonly image: StoredImage
}

const extractMsMax = 600_000
/** Offset of the UUID in an erofs image: superblock at 1024, field at 48. */
const uuidAt = 1024 + 48

export interface ImageUnpacking extends ImageExtraction {
  /** Public key of the state folder. */
  readonly key: string | undefined
  /** Folder of unpacked images. */
  readonly roots: string
}

/** Returns the folder; one that is as the image stays, since walls run in it, and others wait in it. Throws MayflyError IMAGE_BROKEN, INVALID, UNAVAILABLE and DISK_FULL. */
export async function unpackImage(given: ImageUnpacking): Promise<string> {
  const { image, key, roots, store } = given
  const action = `unpack image "${image.digest}"`
  const why = whyImageBroken(image, key)
  if (why) throw new MayflyError('IMAGE_BROKEN', `Cannot ${action}: ${why}`)
  makeCacheFolder(roots, 0o711)
  assertOwn(roots)
  removeDeadDrafts(roots)
  const to = path.join(roots, image.digest)
  if (lstatSync(to, { throwIfNoEntry: false }) && !whyRootBroken(image, roots)) return to
  const work = mkdtempSync(path.join(store.work, 'unpack-'))
  const { pid, startTime } = thisOwner()
  const draft = path.join(roots, `.draft-${pid}-${startTime}-${randomBytes(8).toString('hex')}`)
  const old = oldIn(roots)
  try {
    await extractImage(given, { name: image.digest, work, root: draft })
    // Race: a wall that starts at the same time finds the old tree, for a moment none, or the new one.
    if (lstatSync(to, { throwIfNoEntry: false })) renameSync(to, old)
    renameSync(draft, to)
    return to
  } catch (thrown) {
    throw imageError(action, thrown)
  } finally {
    for (const one of [work, draft]) rmSync(one, { recursive: true, force: true })
    removeUnused(old)
  }
}

/**
 * Reason why an unpacked image does not match its image; undefined if it matches, or was not unpacked. Takes as long
 * as hashing its files.
 */
export function whyRootBroken({ digest, file }: StoredImage, roots: string): string | undefined {
  const root = path.join(roots, digest)
  if (!lstatSync(root, { throwIfNoEntry: false })) return undefined
  try {
    assertOwn(root)
    return isOfImage(canonicalDigest(root), file)
      ? undefined
      : 'its unpacked files differ from the image'
  } catch (thrown) {
    return `its unpacked files cannot be read: ${messageOf(thrown)}`
  }
}

/** Removes the trees of removed images. One in which a program runs is renamed, and removed by a later command. */
export function removeRoots(roots: string, digests: readonly string[]): void {
  const trees = digests.map((one) => path.join(roots, one))
  for (const tree of trees)
    if (lstatSync(tree, { throwIfNoEntry: false })) renameSync(tree, oldIn(roots))
  if (existsSync(roots)) removeDeadDrafts(roots)
}

const OLD = '.old-'
const oldIn = (roots: string) => path.join(roots, OLD + randomBytes(8).toString('hex'))

/**
 * Removes an old tree unless a process has a part of it mounted: mounts follow a tree that is renamed. Not handled: a kernel in
 * user space, whose processes list no mount of its files.
 */
function removeUnused(tree: string): void {
  const name = `/${path.basename(tree)}/`
  const isUsed = readdirSync('/proc').some(
    (pid) =>
      /^\d+$/.test(pid) &&
      attempt(() => readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))?.includes(name),
  )
  if (!isUsed) rmSync(tree, { recursive: true, force: true })
}

/** Throws MayflyError STATE if another user could change the folder. */
function assertOwn(folder: string): void {
  const facts = lstatSync(folder)
  if (facts.isDirectory() && facts.uid === process.getuid?.() && (facts.mode & 0o022) === 0) return
  throw new MayflyError('STATE', `Cannot use "${folder}": another user owns it, or may write to it`)
}

/** Removes drafts of killed commands, and old trees in which no program runs any more. */
function removeDeadDrafts(roots: string): void {
  for (const name of readdirSync(roots)) {
    if (name.startsWith(OLD)) removeUnused(path.join(roots, name))
    const [, pid, startTime] = /^\.draft-(\d+)-(\d*)-/.exec(name) ?? []
    if (pid === undefined || startTime === undefined) continue
    if (isOwnerAlive({ bootId: bootId(), pid: Number(pid), startTime })) continue
    rmSync(path.join(roots, name), { recursive: true, force: true })
  }
}

/**
 * Writes the files of an image to `root`, which must not exist, and their canonical stream to `stream`. Returns the
 * SHA-256 of the stream. Throws MayflyError.
 */
export async function extractImage(
  given: ImageExtraction,
  parts: {
    readonly name: string
    readonly work: string
    readonly root: string
    readonly stream?: string
  },
): Promise<string> {
  const { image, signal } = given
  const { work, root, stream } = parts
  if (image.signed.manifest.form === 'archive')
    throw new MayflyError(
      'INVALID',
      `Cannot read image "${parts.name}": it is an archive and not a file system`,
    )
  const architecture = ownArchitecture()
  using spool = openSpool(path.join(work, 'spool'))
  const packages = { ...given, name: parts.name, work }
  const { makerTree } = await openMaker(packages, architecture, spool)
  const tool = { makerTree, spool, architecture, folder: path.join(work, 'tool') }
  const options = [`--extract=${root}`, '--no-preserve-owner', '--preserve-perms']
  const { code, stderr } = await runTool({
    command: [...writeErofsTool('fsck.erofs', tool), ...options, image.file],
    msMax: extractMsMax,
    signal,
  })
  if (code !== 0 && saysDiskFull(stderr, root)) throw diskFull('unpack an image')
  if (code !== 0)
    throw new MayflyError('INTERNAL', `Cannot read the image: fsck.erofs ended with ${code}`, {
      detail: stderr,
    })
  const digest = canonicalDigest(root, stream)
  if (isOfImage(digest, image.file)) return digest
  throw new MayflyError(
    'IMAGE_BROKEN',
    'Cannot use the image: its files differ from those it was built from',
  )
}

function isOfImage(stream: string, image: string): boolean {
  return uuidOf(stream).replaceAll('-', '') === uuidIn(image)
}

function canonicalDigest(root: string, to?: string): string {
  const read = (place: string) => filePieces(path.join(root, place))
  return writeCanonicalTar({ entries: entriesOf(root), read, ...(to !== undefined && { to }) })
}

const MODE_BITS = 0o7777

/** Entries of a folder, sorted by path; links are not followed. */
function entriesOf(root: string): readonly ImageEntry[] {
  const entries = Array.from(walkFolder(root), ({ place, entry }): ImageEntry => {
    const file = path.join(root, place)
    if (entry.isSymbolicLink()) return [place, { kind: 'link', target: readlinkSync(file) }]
    const { mode, size } = lstatSync(file)
    // The stream has one mode for all folders, and would not show that of this one.
    if (entry.isDirectory() && (mode & MODE_BITS) !== modeOf({ kind: 'folder' }))
      throw new Error(`the mode of folder "${place}" was changed`)
    if (entry.isDirectory()) return [place, { kind: 'folder' }]
    // All bits: one that no image has, such as setuid, is a difference.
    return [place, { kind: 'file', mode: mode & MODE_BITS, at: 0, size }]
  })
  return entries.sort(([a], [b]) => (a < b ? -1 : 1))
}

export function* filePieces(file: string): Generator<Buffer> {
  using input = openToRead(file)
  yield* piecesOf(input)
}

function uuidIn(image: string): string {
  using input = openToRead(image)
  return readAt(input.fd, uuidAt, 16).toString('hex')
}
