import type { FileHandle } from 'node:fs/promises'
import { pipeline, Readable } from 'node:stream'
import { createZstdDecompress } from 'node:zlib'
import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Physical memory of a captured machine as an ELF core file, the format of gdb, crash and Volatility: pages of the template's memory (zeros
 * where the machine was booted), replaced by those that the capture has.
 *
 * Each range of RAM has one program header (PT_LOAD). The virtual address equals the physical one, since no page tables are read, and there are
 * no registers (PT_NOTE): those are in `devices.img`, in the format of the hypervisor. RAM of a q35 machine from 2.75 GiB on is split at
 * 2 GiB, with the rest above 4 GiB (hw/i386/pc_q35.c of the hypervisor); that of a user-mode kernel is one range.
 *
 * Yields chunks of 1 MiB, so that a gigabyte needs no buffer of its size. Pages beyond the limits of a capture are those of the
 * template: `isWhole` of `memory.json` says whether there are any.
 */
export interface CapturedMemory {
  /** `memory.json` of the capture. */
  readonly pages: Uint8Array
  /** `memory.zst`, its digest checked by the reader. */
  readonly changed: AsyncIterable<Uint8Array>
  /** Memory of the template, its digest checked. */
  readonly base: FileHandle | undefined
  /** Whether all RAM has one range of addresses, of any size. */
  readonly isOneRange?: boolean
}

const PAGE_BYTES = 4096
const CHUNK_BYTES = 2 ** 20
const MEMORY_BYTES_MAX = 64 * 2 ** 30
const HEADER_BYTES = 64
const PROGRAM_HEADER_BYTES = 56
/** RAM of q35: no split below the first; else this many bytes are below 4 GiB. */
const SPLIT_FROM = 0xb000_0000
const SPLIT_AT = 0x8000_0000
const HIGH_START = 2 ** 32

const pagesShape = z.object({
  format: z.literal(1),
  bytes: z.number().int().min(CHUNK_BYTES).max(MEMORY_BYTES_MAX).multipleOf(CHUNK_BYTES),
  pageBytes: z.literal(PAGE_BYTES),
  runs: z.array(z.tuple([z.number().int().min(0), z.number().int().min(1)])),
})

/** Throws MayflyError STATE for parts that do not fit each other, and what reading them throws. */
export async function* memoryImage(captured: CapturedMemory): AsyncGenerator<Uint8Array> {
  const { bytes } = shapeOf(captured)
  const isOneRange = captured.isOneRange === true
  yield elfHeader(isOneRange ? [{ at: 0, address: 0, bytes }] : rangesOf(bytes))
  yield* guestMemory(captured)
}

/** The same without a header: all memory of the guest, in chunks of 1 MiB. */
export async function* guestMemory(captured: CapturedMemory): AsyncGenerator<Uint8Array> {
  const { bytes, runs } = shapeOf(captured)
  const { changed, base } = captured
  const changes = new ChangedPages(runs, changed)
  for (let at = 0; at < bytes; at += CHUNK_BYTES) {
    const chunk = Buffer.alloc(CHUNK_BYTES)
    await base?.read(chunk, 0, CHUNK_BYTES, at)
    await changes.apply(chunk, at / PAGE_BYTES)
    yield chunk
  }
  if (!changes.isOver) throw unfit()
}

function shapeOf({ pages }: Pick<CapturedMemory, 'pages'>) {
  const shape = pagesShape.safeParse(parseJson(Buffer.from(pages).toString()))
  if (shape.success) return shape.data
  throw unfit()
}

/** Pages of a capture, which come in ascending order. */
class ChangedPages {
  readonly #numbers: Iterator<number>
  readonly #bytes: AsyncIterator<Buffer>
  #next: IteratorResult<number>
  #held = Buffer.alloc(0)

  constructor(runs: readonly (readonly [number, number])[], changed: AsyncIterable<Uint8Array>) {
    this.#numbers = numbersOf(runs)
    // Errors of both are those of the iterator.
    const plain = pipeline(Readable.from(changed), createZstdDecompress(), () => undefined)
    this.#bytes = plain[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    this.#next = this.#numbers.next()
  }

  get isOver(): boolean {
    return this.#next.done === true
  }

  async apply(chunk: Buffer, first: number): Promise<void> {
    const beyond = first + chunk.length / PAGE_BYTES
    while (!this.#next.done && this.#next.value < beyond) {
      if (this.#next.value < first) throw unfit()
      const page = await this.#page()
      page.copy(chunk, (this.#next.value - first) * PAGE_BYTES)
      this.#next = this.#numbers.next()
    }
  }

  async #page(): Promise<Buffer> {
    while (this.#held.length < PAGE_BYTES) {
      const { done, value } = await this.#bytes.next()
      if (done) throw unfit()
      this.#held = Buffer.concat([this.#held, value])
    }
    const page = this.#held.subarray(0, PAGE_BYTES)
    this.#held = this.#held.subarray(PAGE_BYTES)
    return page
  }
}

function* numbersOf(runs: readonly (readonly [number, number])[]): Generator<number> {
  for (const [first, count] of runs) for (let page = first; page < first + count; page++) yield page
}

/** ELF64, little endian, ET_CORE, EM_X86_64; padded to a page, so that the memory is aligned. */
function elfHeader(ranges: readonly RamRange[]): Buffer {
  const header = Buffer.alloc(PAGE_BYTES)
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  header.writeUInt16LE(4, 16)
  header.writeUInt16LE(62, 18)
  header.writeUInt32LE(1, 20)
  header.writeBigUInt64LE(BigInt(HEADER_BYTES), 32)
  header.writeUInt16LE(HEADER_BYTES, 52)
  header.writeUInt16LE(PROGRAM_HEADER_BYTES, 54)
  header.writeUInt16LE(ranges.length, 56)
  for (const [index, range] of ranges.entries())
    writeProgramHeader(header.subarray(HEADER_BYTES + index * PROGRAM_HEADER_BYTES), range)
  return header
}

interface RamRange {
  /** Offset in the guest's memory. */
  readonly at: number
  readonly address: number
  readonly bytes: number
}

function rangesOf(bytes: number): readonly RamRange[] {
  if (bytes < SPLIT_FROM) return [{ at: 0, address: 0, bytes }]
  return [
    { at: 0, address: 0, bytes: SPLIT_AT },
    { at: SPLIT_AT, address: HIGH_START, bytes: bytes - SPLIT_AT },
  ]
}

/** PT_LOAD, readable and writable. */
function writeProgramHeader(to: Buffer, { at, address, bytes }: RamRange): void {
  to.writeUInt32LE(1, 0)
  to.writeUInt32LE(6, 4)
  const fields = [PAGE_BYTES + at, address, address, bytes, bytes, PAGE_BYTES]
  for (const [index, field] of fields.entries()) to.writeBigUInt64LE(BigInt(field), 8 + 8 * index)
}

function unfit(): MayflyError {
  return new MayflyError('STATE', 'Cannot make a memory image: the parts of the capture do not fit')
}
