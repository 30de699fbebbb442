import type { Socket } from 'node:net'
import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import type { Capture, CapturePart } from '../contract/provider.ts'
import type { CaptureProgress, Wall } from '../contract/warden.ts'
import { parseJson } from '../lib/parse-json.ts'
import { whole } from '../contract/schema-parts.ts'

/** Limit of a capture, all processes of a program together; further memory is left out. */
export const captureBytesMax = 64 * 2 ** 20
/** Bytes of all heads together: one for each 64 KiB and for each mapping. */
const HEAD_BYTES_MAX = 8 * 2 ** 20
const LINE_BYTES_MAX = 256
const COPY_MS_MAX = 10_000
const FILES_MAX = 12
const LACKS_MAX = 8
const NEWLINE = 0x0a

const head = z.union([
  z.strictObject({
    pid: z.number().int().min(1),
    from: z.string().regex(/^[0-9a-f]{1,16}$/),
    bytes: whole(1, 2 ** 20),
  }),
  z.strictObject({ pid: z.number().int().min(1), refused: z.literal(true) }),
  /** Next byte range of a file, for a wall that is captured as an image. */
  z.strictObject({
    file: z.string().regex(/^[a-z_-]{1,32}\.(img|json|zst|bin|tar)$/),
    bytes: whole(1, 2 ** 20),
    /** Reported by the guest, untrusted. */
    trust: z.literal('guest').exactOptional(),
  }),
  /** Description of a missing part of an image, for the outcome. */
  z.strictObject({ lacks: z.string().regex(/^[\w ,.:;()-]{1,200}$/) }),
  z.strictObject({ end: z.literal(true), isWhole: z.boolean() }),
])
type Head = z.infer<typeof head>

/** Capture of a wall without a sentinel: none, with the cause. */
export function uncapturable({ missing }: Pick<Wall, 'missing'>): Capture {
  const why = missing.find((one) => one.startsWith('sentinel')) ?? 'its wall has no sentinel'
  return { kind: 'none', parts: [], why }
}

/**
 * Memory captures of one program, one after the other, over one socket. A capture has two parts: the bytes, and the
 * address range of each stretch of them. The sender is the sentinel, which handles hostile input and may be compromised,
 * so its data is bounded and validated here.
 */
export class MemoryCopies {
  #socket: Socket | undefined
  #isClosed = false
  #last: Promise<unknown> = Promise.resolve()

  /** Rejects with MayflyError UNAVAILABLE if the copy is late, too large or unreadable. */
  copy(
    open: () => Promise<Socket>,
    begin: (bytesMax: number) => Promise<CaptureProgress>,
  ): Promise<Capture> {
    const turn = this.#last.then(async () => {
      const socket = (this.#socket ??= (await open()).on('error', () => undefined))
      // Race: the copies may have been closed while the socket was requested. After a broken transfer the socket is
      // unusable.
      if (this.#isClosed) socket.destroy()
      if (socket.destroyed) throw unavailable('its socket is closed')
      const { leftOut, base } = await begin(captureBytesMax)
      return { ...(await read(socket, leftOut)), ...(base && { base }) }
    })
    this.#last = turn.catch(() => undefined)
    return turn
  }

  close(): void {
    this.#isClosed = true
    this.#socket?.destroy()
  }
}

async function read(socket: Socket, leftOut: number): Promise<Capture> {
  const { promise, resolve, reject } = Promise.withResolvers<Capture>()
  const late = setTimeout(() => reject(unavailable('it is late')), COPY_MS_MAX)
  const copy = new Copy(leftOut)
  const take = (chunk: Buffer) => {
    try {
      if (copy.take(chunk)) resolve(copy.capture)
    } catch (error) {
      reject(error)
    }
  }
  const lost = () => reject(unavailable('its sentinel ended'))
  if (socket.destroyed) lost()
  socket.on('data', take).once('close', lost).resume()
  try {
    return await promise
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    clearTimeout(late)
    socket.pause()
    socket.off('data', take).off('close', lost)
  }
}

interface CopiedFile extends Pick<CapturePart, 'trust'> {
  readonly bytes: Buffer[]
}

/** Incremental parser of a copy. */
class Copy {
  #rest = Buffer.alloc(0)
  /** Missing bytes of the current stretch. */
  #awaited = 0
  #headBytes = 0
  #bytes = 0
  readonly #memory: Buffer[] = []
  /** Files of an image, by name. */
  readonly #files = new Map<string, CopiedFile>()
  readonly #lacks: string[] = []
  /** Target of the current stretch. */
  #into: Buffer[] = this.#memory
  readonly #places: (Head & { readonly at?: number })[] = []
  readonly #leftOut: number

  /** `leftOut`: number of processes beyond the limit of a capture. */
  constructor(leftOut: number) {
    this.#leftOut = leftOut
  }

  /** Parses a chunk; true once the copy is complete. */
  take(chunk: Buffer): boolean {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (;;) {
      if (this.#awaited > this.#rest.length) return false
      if (this.#awaited > 0) this.#keep()
      const newline = this.#rest.subarray(0, LINE_BYTES_MAX).indexOf(NEWLINE)
      if (newline < 0 && this.#rest.length >= LINE_BYTES_MAX) throw unavailable('it has no head')
      if (newline < 0) return false
      if (this.#begin(this.#line(newline))) return true
    }
  }

  get capture(): Capture {
    const places = Buffer.from(JSON.stringify(this.#places))
    const isCut = this.#places.some((one) => 'end' in one && !one.isWhole)
    const refused = this.#places.filter((one) => 'refused' in one).length
    const missing = [
      ...(isCut ? [`it holds more than ${captureBytesMax} bytes`] : []),
      ...(this.#leftOut > 0 ? [`${this.#leftOut} of its processes are left out`] : []),
      ...(refused > 0 ? [`${refused} of its processes could not be looked into`] : []),
    ]
    if (this.#files.size > 0) return this.#image(missing)
    return {
      kind: 'memory',
      ...(missing.length > 0 && { why: missing.join('; ') }),
      parts: [
        { name: 'memory.bin', bytes: this.#memory },
        { name: 'memory.json', bytes: [places] },
      ],
    }
  }

  #image(missing: readonly string[]): Capture {
    const why = [...this.#lacks, ...missing]
    return {
      kind: 'memory+disk',
      ...(why.length > 0 && { why: why.join('; ') }),
      parts: [...this.#files].map(([name, file]) => ({ name, ...file })),
    }
  }

  #line(newline: number): Head {
    const line = this.#rest.subarray(0, newline)
    this.#rest = this.#rest.subarray(newline + 1)
    this.#headBytes += newline
    if (this.#headBytes > HEAD_BYTES_MAX) throw unavailable('it has too many heads')
    try {
      return head.parse(parseJson(line.toString('latin1')))
    } catch {
      throw unavailable('it cannot be read')
    }
  }

  /** True for the last head. */
  #begin(one: Head): boolean {
    if ('file' in one) this.#into = this.#fileOf(one).bytes
    else if ('lacks' in one) this.#lack(one.lacks)
    else this.#places.push('bytes' in one ? { ...one, at: this.#bytes } : one)
    if ('end' in one) return true
    if (!('bytes' in one)) return false
    this.#awaited = one.bytes
    this.#bytes += one.bytes
    if (this.#bytes > captureBytesMax) throw unavailable('it is more than was asked for')
    return false
  }

  #lack(part: string): void {
    if (this.#lacks.length >= LACKS_MAX) throw unavailable('it lacks too much')
    this.#lacks.push(part)
  }

  /** Bounded, because the file names come from the sentinel, which may be compromised. All of a file has one trust. */
  #fileOf({ file, trust }: Extract<Head, { file: string }>): CopiedFile {
    const known = this.#files.get(file) ?? { bytes: [], ...(trust && { trust }) }
    if (known.trust !== trust) throw unavailable('it has two files of one name')
    if (this.#files.size >= FILES_MAX) throw unavailable('it has too many files')
    this.#files.set(file, known)
    return known
  }

  #keep(): void {
    this.#into.push(Buffer.from(this.#rest.subarray(0, this.#awaited)))
    this.#rest = this.#rest.subarray(this.#awaited)
    this.#awaited = 0
  }
}

function unavailable(why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot capture the memory of a wall: ${why}`)
}
