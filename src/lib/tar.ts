/**
 * Writer of archives in `ustar` format, with pax headers (POSIX.1-2001) for paths over 100 bytes. Every entry is a plain file with
 * owner 0 and mode 0600 below one folder: an archive written here has no links, devices or set-uid bits.
 */
export interface TarFile {
  /** Relative, without empty, `.` and `..` components. */
  readonly path: string
  readonly bytes: Uint8Array
  readonly modifiedMs: number
}

const BLOCK_BYTES = 512
const NAME_BYTES_MAX = 100
const MODE = 0o600
const SECONDS_MAX = 0o7777_7777_777

/** Header, content and padding of one file. Throws RangeError for a path that is not relative, or leads out of the folder. */
export function tarEntry({ path, bytes, modifiedMs }: TarFile): readonly Uint8Array[] {
  const parts = path.split('/')
  if (path.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..'))
    throw new RangeError('Cannot write an archive: a path leads out of its folder')
  const name = Buffer.from(path)
  const isLong = name.length > NAME_BYTES_MAX
  const head = header(name.subarray(0, NAME_BYTES_MAX), {
    size: bytes.length,
    modifiedMs,
    type: '0',
  })
  return [...(isLong ? longName(path) : []), head, bytes, padding(bytes.length)]
}

/** End marker of an archive: two blocks of zeros. */
export const tarEnd: Uint8Array = Buffer.alloc(2 * BLOCK_BYTES)

/** Pax header with the full path of the next entry. */
function longName(path: string): readonly Uint8Array[] {
  const text = ` path=${path}\n`
  const textBytes = Buffer.byteLength(text)
  // The length field includes its own digits, whose number can grow by one.
  let length = textBytes + `${textBytes}`.length
  length = textBytes + `${length}`.length
  const record = Buffer.from(`${length}${text}`)
  const head = header(Buffer.from('pax'), { size: record.length, modifiedMs: 0, type: 'x' })
  return [head, record, padding(record.length)]
}

interface HeaderFields {
  readonly size: number
  readonly modifiedMs: number
  /** Type flag: plain file, or pax header. */
  readonly type: '0' | 'x'
}

function header(name: Uint8Array, { size, modifiedMs, type }: HeaderFields): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES)
  const octal = (at: number, width: number, value: number) =>
    block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1')
  block.set(name, 0)
  octal(100, 8, MODE)
  octal(108, 8, 0)
  octal(116, 8, 0)
  octal(124, 12, size)
  octal(136, 12, Math.min(SECONDS_MAX, Math.max(0, Math.floor(modifiedMs / 1000))))
  block.write('        ', 148, 'latin1')
  block.write(type, 156, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  const sum = block.reduce((all, byte) => all + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

const padding = (size: number) => Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES)
