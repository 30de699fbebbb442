import { tarEnd, tarEntry } from '../lib/tar.ts'
import type { OverlayEntry } from './decode.ts'
import { type GuestFileRead, type GuestInspector, forEachConcurrently } from './guest-inspector.ts'
import type { AgentFolder } from './numbers.ts'

/**
 * Files that programs of a guest wrote, as reported by the guest (untrusted): a list, and an archive of the plain files.
 *
 * Source: the upper layer of the root's overlay, and the tmpfs mounts beside it; no file of the image is listed. The archive
 * has plain files only, under names that the list repeats: a link of the guest would lead the extracting program out of its
 * folder. Small files go first, so that a file over the limit leaves out itself alone.
 */
export interface ViewedFile {
  /** Path inside the guest. Bytes that are not UTF-8 become U+FFFD. */
  readonly path: string
  /** `other`: a device, pipe or socket. A character device in a folder of the image is a whiteout: the name was removed. */
  readonly type: OverlayEntry['type']
  readonly size: number
  readonly modifiedMs: number
  mode?: number
  uid?: number
  /** Target of a link. */
  target?: string
  /** Name in the archive. */
  archived?: string
  /** The archive has the start only, because the file is longer than its listed size. */
  isCut?: true
}

export interface ViewedFiles {
  readonly isWhole: boolean
  readonly files: readonly ViewedFile[]
}

/** Limit of the archived content, in bytes. */
export const archiveBytesMax = 8 * 2 ** 20
const FILES_MAX = 4_096
const FOLDERS_MAX = 1_024
const DEPTH_MAX = 32
const PATH_BYTES_MAX = 1_024
const ALL_PATH_BYTES_MAX = 2 ** 20
const TARGET_BYTES_MAX = 1_024
const BATCH = 16
const SLASH = Buffer.from('/')

const mountPoints: Readonly<Record<Exclude<AgentFolder, 'proc'>, string>> = {
  overlay: '',
  tmp: '/tmp',
  shm: '/dev/shm',
  run: '/run',
  result: '/run/result',
}

interface ListedFile {
  readonly place: AgentFolder
  /** Undecoded path below its folder. */
  readonly raw: Buffer
  readonly entry: ViewedFile
}

/** Yields chunks of the archive, and returns the list. */
export async function* viewFiles(
  inspector: GuestInspector,
): AsyncGenerator<Uint8Array, ViewedFiles> {
  const listed: ListedFile[] = []
  const isListed = await listAll(inspector, listed).catch(() => false)
  const links = listed.filter(({ entry }) => entry.type === 'link')
  const hasTargets = await forEachConcurrently(links, async ({ place, raw, entry }) => {
    const target = await inspector.link(place, raw, TARGET_BYTES_MAX)
    if (target) entry.target = target.toString()
  })
  const isArchived = yield* archive(inspector, listed)
  yield tarEnd
  const files = listed.map(({ entry }) => entry)
  return { isWhole: isListed && hasTargets && isArchived, files }
}

/** Lists breadth first. Resolves to true if all names are in `listed`. */
async function listAll(inspector: GuestInspector, listed: ListedFile[]): Promise<boolean> {
  let isWhole = true
  let pathBytesLeft = ALL_PATH_BYTES_MAX
  const folders = Object.entries(mountPoints).map(([place, at]) => {
    const raw: Buffer = Buffer.alloc(0)
    return { place: place as AgentFolder, at, raw, depth: 0 }
  })
  for (let next = 0; next < folders.length; next++) {
    const { place, at, raw, depth } = folders[next]!
    const countMax = FILES_MAX - listed.length + 1
    const entries = (await inspector.list(place, raw, countMax)) ?? []
    for (const { name, raw: rawName, type, size, modifiedMs } of entries) {
      const own = Buffer.concat(raw.length === 0 ? [rawName] : [raw, SLASH, rawName])
      pathBytesLeft -= own.length
      if (listed.length === FILES_MAX || own.length > PATH_BYTES_MAX || pathBytesLeft < 0) {
        isWhole = false
        continue
      }
      const path = `${at}/${name}`
      listed.push({ place, raw: own, entry: { path, type, size, modifiedMs } })
      if (type !== 'folder') continue
      if (depth < DEPTH_MAX && folders.length < FOLDERS_MAX)
        folders.push({ place, at: path, raw: own, depth: depth + 1 })
      else isWhole = false
    }
  }
  return isWhole
}

/** Returns true if all regular files are in the archive. */
async function* archive(
  inspector: GuestInspector,
  listed: readonly ListedFile[],
): AsyncGenerator<Uint8Array, boolean> {
  const names = new Set<string>()
  const plain = listed.filter(({ entry }) => entry.type === 'file')
  const bySize = plain.toSorted((a, b) => a.entry.size - b.entry.size)
  let bytesLeft = archiveBytesMax
  let isWhole = true
  for (let at = 0; at < bySize.length; at += BATCH) {
    const fitting = bySize.slice(at, at + BATCH).filter(({ entry }) => {
      const fits = entry.size <= bytesLeft
      bytesLeft -= fits ? entry.size : 0
      isWhole &&= fits
      return fits
    })
    const contents = new Map<ListedFile, GuestFileRead>()
    const hasAll = await forEachConcurrently(fitting, async (file) => {
      const read = await inspector.file(file.place, file.raw, file.entry.size)
      if (read) contents.set(file, read)
    })
    isWhole &&= hasAll && contents.size === fitting.length
    for (const [{ entry }, read] of contents) yield archiveFile(entry, read, names)
  }
  return isWhole
}

function archiveFile(entry: ViewedFile, read: GuestFileRead, names: Set<string>): Buffer {
  entry.mode = read.mode & 0o7777
  entry.uid = read.uid
  entry.archived = uniqueName(entry.path, names)
  if (read.isCut) entry.isCut = true
  const { archived: path, modifiedMs } = entry
  return Buffer.concat(tarEntry({ path, bytes: read.bytes, modifiedMs }))
}

/** Makes names distinct: two names that are not UTF-8 can decode alike, and a guest can report one name twice. */
function uniqueName(path: string, names: Set<string>): string {
  const own = path.slice(1)
  let name = own
  for (let count = 2; names.has(name); count++) name = `${own}~${count}`
  names.add(name)
  return name
}
