import { crc32, inflateRawSync } from 'node:zlib'
import { attempt } from '../lib/attempt.ts'
import { readAt } from '../lib/file-descriptor.ts'
import { checkedPath, quoted } from './entry-path.ts'

/**
 * Reads the files of a ZIP archive, in which advisories are published.
 *
 * The central directory is authoritative, and each local header must agree with it: readers that trust only one of the
 * two can be made to see different files. Entries must not overlap, so that a few kilobytes cannot be inflated a
 * million times (Fifield's bomb, 2019), and an entry is inflated up to its declared size only. Refused: encryption,
 * methods other than stored and deflated, several disks, links and other special files, duplicate paths, paths that
 * leave the folder. Not handled: an archive after other bytes, such as a self-extracting one.
 */
export interface ZipLimits {
  readonly entriesMax: number
  /** Limits of inflated bytes, of one file and of all. */
  readonly fileBytesMax: number
  readonly bytesMax: number
}

export interface ZipFile {
  readonly path: string
  readonly bytes: Buffer
}

interface ZipEntry {
  readonly path: string
  readonly name: Buffer
  readonly method: number
  readonly sum: number
  readonly packed: number
  readonly size: number
  readonly at: number
}

const directoryBytesMax = 2 ** 27
const endBytes = 22
const whole32 = 0xffff_ffff
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Throws RangeError, also if a limit is exceeded. */
export function* readZip(descriptor: number, size: number, limits: ZipLimits): Generator<ZipFile> {
  const { directory, start, count } = readDirectory(descriptor, size)
  if (count > limits.entriesMax) throw new RangeError(`it has more than ${limits.entriesMax} files`)
  const entries = entriesOf(directory, count).sort((a, b) => a.at - b.at)
  let total = 0
  const seen = new Set<string>()
  for (const [index, entry] of entries.entries()) {
    const end = entries[index + 1]?.at ?? start
    if (seen.has(entry.path)) throw new RangeError(`it has ${quoted(entry.path)} twice`)
    seen.add(entry.path)
    total += entry.size
    if (entry.size > limits.fileBytesMax) throw new RangeError(`${quoted(entry.path)} is too large`)
    if (total > limits.bytesMax) throw new RangeError('its files are too large')
    const bytes = readEntry(descriptor, entry, end)
    if (!entry.path.endsWith('/')) yield { path: entry.path, bytes }
  }
}

function readDirectory(descriptor: number, size: number) {
  const tail = readWhole(
    descriptor,
    Math.max(0, size - endBytes - 0xffff),
    Math.min(size, endBytes + 0xffff),
  )
  let at = tail.length - endBytes
  while (
    at >= 0 &&
    !(
      tail.readUInt32LE(at) === 0x06054b50 &&
      tail.readUInt16LE(at + 20) === tail.length - at - endBytes
    )
  )
    at -= 1
  if (at < 0) throw new RangeError('it is not a ZIP archive, or is truncated')
  const base = size - tail.length
  let end = base + at
  let [count, bytes, start] = [
    tail.readUInt16LE(at + 10),
    tail.readUInt32LE(at + 12),
    tail.readUInt32LE(at + 16),
  ]
  const [disk, startDisk, here] = [
    tail.readUInt16LE(at + 4),
    tail.readUInt16LE(at + 6),
    tail.readUInt16LE(at + 8),
  ]
  if (count === 0xffff || bytes === whole32 || start === whole32) {
    const big = readBigEnd(descriptor, end)
    ;({ count, bytes, start, end } = big)
  } else if (disk !== 0 || startDisk !== 0 || here !== count)
    throw new RangeError('it has several disks')
  if (bytes > directoryBytesMax) throw new RangeError('its directory is too large')
  if (start + bytes !== end) throw new RangeError('its directory is not before its end')
  return { directory: readWhole(descriptor, start, bytes), start, count }
}

/** ZIP64 end record, for more than 65,534 files or 4 GiB. */
function readBigEnd(descriptor: number, end: number) {
  const locator = readWhole(descriptor, end - 20, 20)
  if (locator.readUInt32LE(0) !== 0x07064b50) throw new RangeError('its ZIP64 record is missing')
  const at = numberAt(locator, 8)
  const record = readWhole(descriptor, at, 56)
  if (record.readUInt32LE(0) !== 0x06064b50 || numberAt(record, 4) !== 44 || at + 56 !== end - 20)
    throw new RangeError('its ZIP64 record is broken')
  if (record.readUInt32LE(16) !== 0 || record.readUInt32LE(20) !== 0)
    throw new RangeError('it has several disks')
  return {
    count: numberAt(record, 32),
    bytes: numberAt(record, 40),
    start: numberAt(record, 48),
    end: at,
  }
}

function entriesOf(directory: Buffer, count: number): ZipEntry[] {
  const entries: ZipEntry[] = []
  let at = 0
  while (at < directory.length) {
    if (directory.length - at < 46 || directory.readUInt32LE(at) !== 0x02014b50)
      throw new RangeError('its directory is broken')
    const [nameBytes, extraBytes, noteBytes] = [28, 30, 32].map((place) =>
      directory.readUInt16LE(at + place),
    ) as [number, number, number]
    const next = at + 46 + nameBytes + extraBytes + noteBytes
    if (next > directory.length) throw new RangeError('its directory is broken')
    const name = directory.subarray(at + 46, at + 46 + nameBytes)
    const extra = directory.subarray(at + 46 + nameBytes, at + 46 + nameBytes + extraBytes)
    entries.push(entryOf(directory.subarray(at, at + 46), name, extra))
    if (entries.length > count)
      throw new RangeError('its directory has more files than its end says')
    at = next
  }
  if (entries.length !== count)
    throw new RangeError('its directory has less files than its end says')
  return entries
}

function entryOf(head: Buffer, name: Buffer, extra: Buffer): ZipEntry {
  const flags = head.readUInt16LE(8)
  const path = pathOf(name)
  if ((flags & 0x2041) !== 0) throw new RangeError(`${quoted(path)} is encrypted`)
  const method = head.readUInt16LE(10)
  if (method !== 0 && method !== 8) throw new RangeError(`${quoted(path)} has method ${method}`)
  const kind = head.readUInt8(5) === 3 ? head.readUInt32LE(38) >>> 28 : 0
  if (![0, 4, 8].includes(kind)) throw new RangeError(`${quoted(path)} is a link or a special file`)
  const [packed, size, at] = bigNumbers(
    extra,
    head.readUInt32LE(20),
    head.readUInt32LE(24),
    head.readUInt32LE(42),
  )
  if (path.endsWith('/') && size !== 0)
    throw new RangeError(`${quoted(path)} is a folder with bytes`)
  return { path, name, method, sum: head.readUInt32LE(16), packed, size, at }
}

/** Sizes and offset; those that do not fit into 32 bits come from the ZIP64 extra field. */
function bigNumbers(
  extra: Buffer,
  packed: number,
  size: number,
  at: number,
): readonly [number, number, number] {
  if (packed !== whole32 && size !== whole32 && at !== whole32) return [packed, size, at]
  for (let place = 0; place + 4 <= extra.length;) {
    const [id, length] = [extra.readUInt16LE(place), extra.readUInt16LE(place + 2)]
    const field = extra.subarray(place + 4, place + 4 + length)
    place += 4 + length
    if (id !== 1) continue
    let next = 0
    const take = (value: number) => {
      if (value !== whole32) return value
      if (next + 8 > field.length) throw new RangeError('its ZIP64 field is too short')
      next += 8
      return numberAt(field, next - 8)
    }
    const bigSize = take(size)
    const bigPacked = take(packed)
    return [bigPacked, bigSize, take(at)]
  }
  throw new RangeError('its ZIP64 field is missing')
}

function readEntry(descriptor: number, entry: ZipEntry, end: number): Buffer {
  const fault = (why: string) => new RangeError(`${quoted(entry.path)} ${why}`)
  if (entry.at + 30 > end) throw fault('overlaps another file')
  const head = readWhole(descriptor, entry.at, 30)
  if (head.readUInt32LE(0) !== 0x04034b50) throw fault('has no header')
  const nameBytes = head.readUInt16LE(26)
  const start = entry.at + 30 + nameBytes + head.readUInt16LE(28)
  if (start + entry.packed > end) throw fault('overlaps another file')
  const name = readWhole(descriptor, entry.at + 30, nameBytes)
  if (!name.equals(entry.name) || head.readUInt16LE(8) !== entry.method)
    throw fault('has another header than the directory says')
  const packed = readWhole(descriptor, start, entry.packed)
  const bytes = entry.method === 0 ? packed : inflated(packed, entry.size, fault)
  if (bytes.length !== entry.size) throw fault('has another size than it says')
  if (crc32(bytes) !== entry.sum) throw fault('has a wrong checksum')
  return bytes
}

function inflated(packed: Buffer, size: number, fault: (why: string) => RangeError): Buffer {
  try {
    return inflateRawSync(packed, { maxOutputLength: Math.max(size, 1) })
  } catch {
    throw fault('cannot be inflated to its declared size')
  }
}

function pathOf(name: Buffer): string {
  const text = attempt(() => utf8.decode(name))
  if (text === undefined) throw new RangeError('it has a name that is not UTF-8')
  const path = checkedPath(text)
  if (path === '') throw new RangeError('it has a file without a name')
  return text.endsWith('/') ? `${path}/` : path
}

/** 64-bit integer, limited to the safe integers of a double. */
function numberAt(bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at)
  if (value > 2n ** 50n) throw new RangeError('it has a size that is too large')
  return Number(value)
}

function readWhole(descriptor: number, at: number, length: number): Buffer {
  const bytes = at < 0 || length < 0 ? undefined : readAt(descriptor, at, length)
  if (bytes?.length !== length) throw new RangeError('it is truncated')
  return bytes
}
