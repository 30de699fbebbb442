import { fstatSync, lstatSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { type FileDescriptor, openToRead, piecesOf, readAt } from '../lib/file-descriptor.ts'
import { inflaterOf, readInflated, readPlainTar } from './plain-tar.ts'
import { readZip } from './zip.ts'

/**
 * Reads the JSON files of a feed: of a folder, of a ZIP or tar archive (also gzip and zstd), or a single file.
 *
 * Archives are read in memory, and no link is followed: a folder is walked with lstat(2), and each file is opened with
 * O_NOFOLLOW. Inflated bytes are counted, which stops a decompression bomb at the limit. In folders and archives, only
 * files with names ending in `.json` are read.
 */
export interface FeedFile {
  readonly name: string
  readonly bytes: Buffer
}

export interface FeedBounds {
  /** Limits in bytes, of one record and of all together. */
  readonly recordBytesMax: number
  readonly bytesMax: number
  readonly recordsMax: number
}

const foldersMax = 10_000
const depthMax = 8

/** Calls `take` with each file in turn. Throws RangeError, and file system errors. */
export async function readFeedFiles(
  place: string,
  bounds: FeedBounds,
  take: (file: FeedFile) => void,
): Promise<void> {
  const counted = countedBy(bounds, take)
  const stats = lstatSync(place)
  if (stats.isDirectory()) return readFolder(place, bounds, counted)
  if (!stats.isFile()) throw new RangeError('it is neither a file nor a folder')
  using file = openToRead(place)
  const { size } = fstatSync(file.fd)
  if (size > bounds.bytesMax) throw new RangeError(`it has more than ${bounds.bytesMax} bytes`)
  await readOpen(file, size, { name: path.basename(place), bounds, take: counted })
}

interface OpenFeed {
  readonly name: string
  readonly bounds: FeedBounds
  readonly take: (file: FeedFile) => void
}

async function readOpen(file: FileDescriptor, size: number, feed: OpenFeed): Promise<void> {
  const head = readAt(file.fd, 0, Math.min(size, 512))
  if (head.subarray(0, 4).equals(Buffer.from('PK\x03\x04')))
    return readZipFiles(file.fd, size, feed)
  const inflate = inflaterOf(head)
  const isTar = head.toString('latin1', 257, 262) === 'ustar'
  if (inflate || isTar)
    return readInflated(piecesOf(file), inflate, (source) => readTarFiles(source, feed))
  feed.take({ name: feed.name, bytes: wholeFile(file.fd, size) })
}

function readZipFiles(descriptor: number, size: number, { bounds, take }: OpenFeed): void {
  const limits = {
    entriesMax: bounds.recordsMax,
    fileBytesMax: bounds.recordBytesMax,
    bytesMax: bounds.bytesMax,
  }
  for (const { path: name, bytes } of readZip(descriptor, size, limits))
    if (name.endsWith('.json')) take({ name, bytes })
}

async function readTarFiles(
  stream: AsyncIterable<Buffer>,
  { bounds, take }: OpenFeed,
): Promise<void> {
  let open: { readonly name: string; readonly parts: Buffer[]; missing: number } | undefined
  const finish = () => {
    if (open?.missing !== 0) return
    if (open.name.endsWith('.json')) take({ name: open.name, bytes: Buffer.concat(open.parts) })
    open = undefined
  }
  await readPlainTar(stream, {
    entriesMax: bounds.recordsMax,
    bytesMax: bounds.bytesMax,
    file(name, size) {
      if (size > bounds.recordBytesMax) throw new RangeError(`${JSON.stringify(name)} is too large`)
      open = { name, parts: [], missing: size }
      finish()
    },
    data(bytes) {
      if (!open) return
      open.parts.push(Buffer.from(bytes))
      open.missing -= bytes.length
      finish()
    },
  })
}

function readFolder(root: string, bounds: FeedBounds, take: (file: FeedFile) => void): void {
  const folders = [{ place: root, depth: 0 }]
  let count = 0
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    if (++count > foldersMax) throw new RangeError(`it has more than ${foldersMax} folders`)
    for (const entry of readdirSync(folder.place, { withFileTypes: true })) {
      const place = path.join(folder.place, entry.name)
      const name = path.relative(root, place)
      if (entry.isSymbolicLink()) throw new RangeError(`${JSON.stringify(name)} is a link`)
      if (entry.isDirectory()) {
        if (folder.depth === depthMax)
          throw new RangeError(`it has folders deeper than ${depthMax}`)
        folders.push({ place, depth: folder.depth + 1 })
      } else if (entry.name.endsWith('.json')) take({ name, bytes: fileOf(place, name, bounds) })
    }
  }
}

function fileOf(place: string, name: string, bounds: FeedBounds): Buffer {
  using file = openToRead(place)
  const stats = fstatSync(file.fd)
  if (!stats.isFile()) throw new RangeError(`${JSON.stringify(name)} is no plain file`)
  if (stats.size > bounds.recordBytesMax)
    throw new RangeError(`${JSON.stringify(name)} is too large`)
  return wholeFile(file.fd, stats.size)
}

function wholeFile(fd: number, size: number): Buffer {
  const bytes = readAt(fd, 0, size)
  if (bytes.length < size) throw new RangeError('it became shorter while it was read')
  return bytes
}

function countedBy({ bytesMax, recordsMax }: FeedBounds, take: (file: FeedFile) => void) {
  let [bytes, records] = [0, 0]
  return (file: FeedFile) => {
    bytes += file.bytes.length
    records += 1
    if (bytes > bytesMax) throw new RangeError(`it has more than ${bytesMax} bytes`)
    if (records > recordsMax) throw new RangeError(`it has more than ${recordsMax} files`)
    take(file)
  }
}
