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

export const tarBlock = 512
const NAME_BYTES_MAX = 100
const MODE = 0o600
const SECONDS_MAX = 0o7777_7777_777

/** Header, content and padding of one file. Throws RangeError for a path that is not relative, or leads out of the folder. */
export function tarEntry({ path, bytes, modifiedMs }: TarFile): readonly Uint8Array[] {
  const parts = path.split('/')
  if (path.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..'))
    throw new RangeError('Cannot write an archive: a path leads out of its folder')
  const isLong = Buffer.byteLength(path) > NAME_BYTES_MAX
  const head = header(path, { size: bytes.length, modifiedMs, type: '0' })
  return [...(isLong ? longName(path) : []), head, bytes, tarPadding(bytes.length)]
}

/** End marker of an archive: two blocks of zeros. */
export const tarEnd: Uint8Array = Buffer.alloc(2 * tarBlock)

/** Zero bytes that pad a body to a full block. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((tarBlock - (size % tarBlock)) % tarBlock)
}

/** Pax header with the full path of the next entry. */
function longName(path: string): readonly Uint8Array[] {
  const text = ` path=${path}\n`
  const textBytes = Buffer.byteLength(text)
  // The length field includes its own digits, whose number can grow by one.
  let length = textBytes + `${textBytes}`.length
  length = textBytes + `${length}`.length
  const record = Buffer.from(`${length}${text}`)
  const head = header('pax', { size: record.length, modifiedMs: 0, type: 'x' })
  return [head, record, tarPadding(record.length)]
}

interface HeaderFields {
  readonly size: number
  readonly modifiedMs: number
  /** Type flag: plain file, or pax header. */
  readonly type: '0' | 'x'
}

function header(name: string, { size, modifiedMs, type }: HeaderFields): Buffer {
  const seconds = Math.min(SECONDS_MAX, Math.max(0, Math.floor(modifiedMs / 1000)))
  return tarHeaderBlock(name, { mode: MODE, size, seconds, type, magic: 'ustar\x0000' })
}

export interface TarHeader {
  readonly mode: number
  readonly size: number
  readonly seconds: number
  readonly type: string
  /** Target of a link. */
  readonly target?: string
  /** Format of POSIX or of GNU. */
  readonly magic: 'ustar\x0000' | 'ustar  \0'
}

/** Header of an entry with owner 0; name and target are cut at 100 bytes. */
export function tarHeaderBlock(name: string, fields: TarHeader): Buffer {
  const { mode, size, seconds, type, target = '', magic } = fields
  const block = Buffer.alloc(tarBlock)
  block.write(name, 0, NAME_BYTES_MAX)
  block.write(`${octal(mode, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0`, 100, 'latin1')
  // The checksum counts its own field as spaces.
  block.write(`${octal(size, 11)}\0${octal(seconds, 11)}\0        ${type}`, 124, 'latin1')
  block.write(target, 157, NAME_BYTES_MAX)
  block.write(magic, 257, 'latin1')
  const sum = block.reduce((all, byte) => all + byte, 0)
  block.write(`${octal(sum, 6)}\0 `, 148, 'latin1')
  return block
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}
