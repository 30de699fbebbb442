/**
 * Archives in `newc` format (cpio), which the kernel unpacks as its initrd, and in which the store holds a kernel. The
 * writer is deterministic: owner 0, time 0, and inode numbers in the order of entries. The format:
 * https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
 */
export interface ArchiveEntry {
  readonly kind: 'file' | 'folder' | 'link'
  readonly path: string
  /** Permissions. */
  readonly mode: number
  /** Content of a file, or target of a link. */
  readonly body: Uint8Array
}

export function fileEntry(path: string, mode: number, body: Uint8Array): ArchiveEntry {
  return { kind: 'file', path, mode, body }
}

export function folderEntry(path: string): ArchiveEntry {
  return { kind: 'folder', path, mode: 0o755, body: Buffer.alloc(0) }
}

const MAGIC = '070701'
const END = 'TRAILER!!!'
const headerBytes = 110
const entriesMax = 10_000
const bytesMax = 256 * 2 ** 20
const types = { file: 0o100_000, folder: 0o040_000, link: 0o120_000 } as const

/** Entries are written in the given order, so parents must come first. Throws RangeError over 256 MiB. */
export function archiveOf(entries: readonly ArchiveEntry[]): Buffer {
  const size = entries.reduce((sum, { body }) => sum + body.length, 0)
  if (size > bytesMax || entries.length > entriesMax)
    throw new RangeError('its files are too large for an archive')
  const parts = entries.flatMap((entry, index) => partsOf(entry, index + 1))
  const end = { path: END, body: Buffer.alloc(0) }
  return Buffer.concat([...parts, ...framed(end, 0, 0)])
}

function partsOf({ kind, path, mode, body }: ArchiveEntry, inode: number): readonly Uint8Array[] {
  return framed({ path, body }, inode, types[kind] | mode)
}

function framed(
  { path, body }: Pick<ArchiveEntry, 'path' | 'body'>,
  inode: number,
  mode: number,
): readonly Uint8Array[] {
  const name = Buffer.from(`${path}\0`)
  const [owner, group, links, time, device] = [0, 0, 1, 0, [0, 0, 0, 0]]
  const fields = [inode, mode, owner, group, links, time, body.length, ...device, name.length, 0]
  const header = Buffer.from(MAGIC + fields.map(hexOf).join(''), 'latin1')
  return [header, name, padding(header.length + name.length), body, padding(body.length)]
}

const hexOf = (value: number) => value.toString(16).toUpperCase().padStart(8, '0')
const padding = (size: number) => Buffer.alloc((4 - (size % 4)) % 4)

/** Regular files of an archive by path. Throws RangeError for malformed bytes. */
export function filesOfArchive(bytes: Buffer): ReadonlyMap<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (let at = 0, count = 0; count < entriesMax; count++) {
    if (bytes.toString('latin1', at, at + MAGIC.length) !== MAGIC) break
    const field = (index: number) => numberAt(bytes, at + MAGIC.length + 8 * index)
    const [mode, size, nameBytes] = [field(1), field(6), field(11)]
    const name = at + headerBytes
    const body = align(name + nameBytes)
    if (nameBytes < 2 || body + size > bytes.length) break
    const path = bytes.toString('utf8', name, name + nameBytes - 1)
    if (path === END) return files
    if ((mode & 0o170_000) === types.file) files.set(path, bytes.subarray(body, body + size))
    at = align(body + size)
  }
  throw new RangeError('it is not a complete archive')
}

const align = (at: number) => (at + 3) & ~3

function numberAt(bytes: Buffer, at: number): number {
  const text = bytes.toString('latin1', at, at + 8)
  if (!/^[0-9A-Fa-f]{8}$/.test(text)) throw new RangeError('it is not a complete archive')
  return Number.parseInt(text, 16)
}
