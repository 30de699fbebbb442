import { tarBlock, tarHeaderBlock, tarPadding } from '../lib/tar.ts'

/**
 * Reads the tar stream of a package, and writes that of an image.
 *
 * The stream comes from `dpkg-deb --fsys-tarfile`, which decompresses the data member of a package and writes no file.
 * Accepted are regular files, hard links, symbolic links and folders in ustar or GNU headers with long names, as
 * dpkg-deb writes them; a device, a FIFO or a sparse file is refused. With `pax`, for other archives, pax records are
 * accepted too: path, target and size are used, extended attributes are reported, and global records must not contain
 * a path. Nothing here touches the file system: paths are checked by `entry-path.ts`, and the image is made from the
 * stream of `tarHeader`, so an archive cannot write through a link.
 */
export interface TarEntry {
  readonly kind: 'file' | 'folder' | 'link' | 'same'
  readonly path: string
  readonly mode: number
  readonly size: number
  /** Target of a link, or path of the file that a hard link refers to. */
  readonly target: string
  /** Present if pax records add extended attributes, which images do not keep. */
  readonly hasAttributes?: true
}

export interface TarOptions {
  /** Accepts pax records, and `entriesMax` entries. */
  readonly pax?: boolean
  readonly entriesMax?: number
}

export interface TarSink {
  entry(entry: TarEntry): void
  /** Bytes of the preceding entry. */
  data(bytes: Uint8Array): void
}

const longBytesMax = 4096
const paxBytesMax = 2 ** 20
const entriesMaxDefault = 100_000
/** Limit of long-name headers and pax records per allowed entry: an archive could consist of these only. */
const headersPerEntryMax = 4
/** Limit of padding after the end marker; a decompression bomb of zeros stops here. */
const trailingBytesMax = 2 ** 24

const kinds: Readonly<Record<string, TarEntry['kind']>> = {
  '0': 'file',
  '\0': 'file',
  '1': 'same',
  '2': 'link',
  '5': 'folder',
}

/** Push parser. Throws RangeError for a malformed stream or an entry of another kind. */
export class TarReader {
  readonly #sink: TarSink
  readonly #hasPax: boolean
  readonly #entriesMax: number
  #header = Buffer.alloc(0)
  /** Remaining bytes of the body, then of its padding. */
  #body = 0
  #padding = 0
  #long: { readonly field: 'path' | 'target' | 'pax' | 'global'; bytes: Buffer } | undefined
  #names: { path?: string; target?: string; size?: number; hasAttributes?: true } = {}
  #entries = 0
  #headers = 0
  #trailing = 0
  #isEnded = false

  constructor(sink: TarSink, { pax = false, entriesMax = entriesMaxDefault }: TarOptions = {}) {
    this.#sink = sink
    this.#hasPax = pax
    this.#entriesMax = entriesMax
  }

  push(chunk: Uint8Array): void {
    let rest = chunk
    while (rest.length > 0 && !this.#isEnded) {
      const taken = this.#body > 0 ? this.#takeBody(rest) : this.#takeFrame(rest)
      rest = rest.subarray(taken)
    }
    this.#trailing += rest.length
    if (this.#trailing > trailingBytesMax)
      throw new RangeError('its archive has data after its end')
  }

  /** Throws RangeError if the stream is truncated. */
  end(): void {
    if (!this.#isEnded) throw new RangeError('its archive is truncated')
  }

  #takeBody(rest: Uint8Array): number {
    const bytes = rest.subarray(0, this.#body)
    this.#body -= bytes.length
    if (this.#long) this.#long.bytes = Buffer.concat([this.#long.bytes, bytes])
    else this.#sink.data(bytes)
    if (this.#body === 0) this.#finishLong()
    return bytes.length
  }

  #takeFrame(rest: Uint8Array): number {
    if (this.#padding > 0) {
      const skipped = Math.min(this.#padding, rest.length)
      this.#padding -= skipped
      return skipped
    }
    const bytes = rest.subarray(0, tarBlock - this.#header.length)
    this.#header = Buffer.concat([this.#header, bytes])
    if (this.#header.length === tarBlock) {
      const header = this.#header
      this.#header = Buffer.alloc(0)
      this.#takeHeader(header)
    }
    return bytes.length
  }

  #takeHeader(header: Buffer): void {
    if (header.every((byte) => byte === 0)) return this.#takeEnd()
    assertSum(header)
    if (++this.#headers > headersPerEntryMax * this.#entriesMax)
      throw new RangeError('its archive has too many headers')
    const type = header.toString('latin1', 156, 157)
    const declared = octal(header, 124, 12)
    if (type === 'L' || type === 'K')
      return this.#startLong(type === 'L' ? 'path' : 'target', declared, longBytesMax)
    if (this.#hasPax && (type === 'x' || type === 'g'))
      return this.#startLong(type === 'x' ? 'pax' : 'global', declared, paxBytesMax)
    const kind = kinds[type]
    const size = this.#names.size ?? declared
    if (!kind) throw new RangeError(`its archive has an entry of type ${JSON.stringify(type)}`)
    if (++this.#entries > this.#entriesMax) throw new RangeError('its archive has too many entries')
    if (kind !== 'file' && size !== 0)
      throw new RangeError('its archive has bytes where no file is')
    const { hasAttributes } = this.#names
    const entry = {
      kind,
      mode: octal(header, 100, 8),
      size,
      ...this.#namesOf(header),
      ...(hasAttributes && { hasAttributes }),
    }
    this.#names = {}
    this.#expect(size)
    this.#sink.entry(entry)
  }

  #takeEnd(): void {
    if (Object.keys(this.#names).length > 0)
      throw new RangeError('its archive ends after a long name')
    this.#isEnded = true
  }

  #startLong(field: 'path' | 'target' | 'pax' | 'global', size: number, sizeMax: number): void {
    if (size < 1 || size > sizeMax) throw new RangeError('a path of it is too long')
    this.#long = { field, bytes: Buffer.alloc(0) }
    this.#expect(size)
  }

  #finishLong(): void {
    if (!this.#long) return
    const { field, bytes } = this.#long
    this.#long = undefined
    if (field === 'path' || field === 'target') this.#names[field] = textOf(bytes, 0, bytes.length)
    else this.#takePax(bytes, field)
  }

  #takePax(bytes: Buffer, field: 'pax' | 'global'): void {
    for (const [key, value] of paxRecords(bytes)) {
      if (key.startsWith('GNU.sparse.')) throw new RangeError('its archive has a sparse file')
      const isName = key === 'path' || key === 'linkpath' || key === 'size'
      if (isName && field === 'global')
        throw new RangeError(`its archive has a ${key} for all of its entries`)
      if (key === 'path' || key === 'linkpath') {
        if (value.includes('\0')) throw new RangeError('its archive has a name with a zero byte')
        this.#names[key === 'path' ? 'path' : 'target'] = value
      } else if (key === 'size') this.#names.size = decimal(value)
      else if (/^(?:SCHILY|LIBARCHIVE)\.xattr\./.test(key)) this.#names.hasAttributes = true
    }
  }

  #expect(size: number): void {
    this.#body = size
    this.#padding = tarPadding(size).length
  }

  /** Beside a long name its field is not read: it has the first 100 bytes, which may end within a character. */
  #namesOf(header: Buffer): Pick<TarEntry, 'path' | 'target'> {
    const { path = pathIn(header), target = textOf(header, 157, 100) } = this.#names
    return { path, target }
  }
}

function pathIn(header: Buffer): string {
  // GNU headers ("ustar  ") keep times where POSIX ones ("ustar\0") have a prefix.
  const isPosix = header.toString('latin1', 257, 263) === 'ustar\0'
  const prefix = isPosix ? textOf(header, 345, 155) : ''
  const name = textOf(header, 0, 100)
  return prefix === '' ? name : `${prefix}/${name}`
}

/** Header blocks of an entry: owner 0, a fixed time, and preceding GNU blocks for names of more than 100 bytes. */
export function tarHeader(
  entry: Omit<TarEntry, 'kind'> & { readonly kind: 'file' | 'folder' | 'link' },
  seconds: number,
): Buffer {
  const name = entry.kind === 'folder' ? `${entry.path}/` : entry.path
  const parts = [longBlocks('L', name), longBlocks('K', entry.target)]
  const type = { file: '0', folder: '5', link: '2' }[entry.kind]
  const { mode, size, target } = entry
  return Buffer.concat([
    ...parts,
    tarHeaderBlock(name, { mode, size, target, type, seconds, magic }),
  ])
}

const magic = 'ustar  \0'

function longBlocks(type: 'L' | 'K', text: string): Buffer {
  const bytes = Buffer.from(`${text}\0`)
  if (bytes.length <= 100) return Buffer.alloc(0)
  const fields = { mode: 0, size: bytes.length, type, seconds: 0, magic } as const
  return Buffer.concat([tarHeaderBlock('././@LongLink', fields), bytes, tarPadding(bytes.length)])
}

function assertSum(header: Buffer): void {
  if (octal(header, 148, 8) !== sumOf(header))
    throw new RangeError('its archive has a header whose checksum is wrong')
}

/** Sum of all bytes, with the checksum field counted as spaces. */
function sumOf(header: Buffer): number {
  let sum = 8 * 0x20
  for (const [at, byte] of header.entries()) if (at < 148 || at >= 156) sum += byte
  return sum
}

function octal(header: Buffer, at: number, length: number): number {
  const text = header
    .toString('latin1', at, at + length)
    .replace(/[\0 ]+$/, '')
    .trimStart()
  if (!/^[0-7]{1,11}$/.test(text))
    throw new RangeError('its archive has a header with a wrong number')
  return Number.parseInt(text, 8)
}

/** Parses records of the form "LENGTH KEY=VALUE\\n", where LENGTH includes the whole record. */
function* paxRecords(bytes: Buffer): Generator<readonly [key: string, value: string]> {
  for (let at = 0; at < bytes.length;) {
    const [, digits] = /^([1-9]\d{0,6}) /.exec(bytes.toString('latin1', at, at + 8)) ?? []
    const end = at + Number(digits ?? 0)
    if (digits === undefined || end > bytes.length || bytes[end - 1] !== 0x0a)
      throw new RangeError('its archive has a broken pax record')
    const equals = bytes.indexOf(0x3d, at)
    if (equals < 0 || equals >= end) throw new RangeError('its archive has a broken pax record')
    const key = bytes.toString('latin1', at + digits.length + 1, equals)
    // Attributes are binary, and images do not keep them.
    const isBytes = /^(?:SCHILY|LIBARCHIVE)\./.test(key)
    yield [key, isBytes ? '' : decoded(bytes.subarray(equals + 1, end - 1))]
    at = end
  }
}

function decimal(text: string): number {
  if (!/^\d{1,12}$/.test(text)) throw new RangeError('its archive has a header with a wrong number')
  return Number(text)
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Text up to the first NUL byte. */
function textOf(bytes: Buffer, at: number, length: number): string {
  const field = bytes.subarray(at, at + length)
  const zero = field.indexOf(0)
  return decoded(zero < 0 ? field : field.subarray(0, zero))
}

function decoded(bytes: Buffer): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new RangeError('its archive has a name that is not UTF-8')
  }
}
