import { fstatSync, readSync } from 'node:fs'
import { bootId } from '../lib/owner.ts'
import type { ChainHead } from './chain.ts'
import {
  contentOf,
  parseEntry,
  parseStart,
  type JournalEntry,
  type JournalStart,
} from './journal-row.ts'

/** Bytes that one journal may have: several minutes of lines, if the database cannot be written. */
export const journalBytesMax = 64 * 2 ** 20

/** First part of a journal that does not read as it was written. */
export interface JournalDamage {
  /** Number of the line expected there. */
  readonly seq: number
  readonly why: string
}

/**
 * Reads a journal from its start, and with each further call the rows appended since. Verifies each row by its
 * checksum and each line by the chain.
 *
 * A writer that is killed leaves at most a part of the last row, which has no line feed: `torn`. Anything else that
 * does not verify is damage. After another boot it is torn as well: a power failure loses pages that were never synced,
 * in any order, and what follows the first of them was never synced either.
 */
export class JournalReader {
  /** First row; undefined as long as it is not complete. */
  start: JournalStart | undefined
  head: ChainHead | undefined
  /** End of each row: at index n that of line `start.seq + n`. */
  readonly ends: number[] = []
  damage: JournalDamage | undefined
  readonly #fd: number
  readonly #boot: string

  constructor(fd: number, boot = bootId()) {
    this.#fd = fd
    this.#boot = boot
  }

  /** End of the rows that were read, or that this process wrote itself. */
  get offset(): number {
    return this.ends.at(-1) ?? 0
  }

  /** Bytes of the file after that. */
  get bytesLeft(): number {
    return fstatSync(this.#fd).size - this.offset
  }

  /** Counts a row that this process has written. */
  wrote(row: { readonly bytes: number; readonly head: ChainHead }): void {
    this.ends.push(this.offset + row.bytes)
    this.head = row.head
  }

  /** True if the last call read to the end of the file. */
  isAtEnd = false

  /** Entries of the rows after `offset`, of some `bytesMax` bytes; with damage, those before it. */
  read(bytesMax = Infinity): readonly JournalEntry[] {
    const from = this.offset
    const { size } = fstatSync(this.#fd)
    const bytes = readFrom(this.#fd, from, Math.min(size - from, bytesMax))
    this.isAtEnd = from + bytes.length >= size
    const entries: JournalEntry[] = []
    let at = 0
    for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF, at)) {
      const why = this.#take(bytes.subarray(at, end), entries)
      if (why !== undefined) {
        this.#spoiled(why)
        return entries
      }
      at = end + 1
      this.ends.push(from + at)
    }
    if (!this.isAtEnd) return at > 0 ? entries : this.read(bytesMax * 2)
    // A torn row may lack its line feed, but has nothing in the place of it.
    const rest = bytes.subarray(at, -1)
    if (rest.length > 0 && contentOf(rest) !== undefined) this.#spoiled('its last row has no end')
    return entries
  }

  /** Returns the reason why a row is none. */
  #take(row: Buffer, entries: JournalEntry[]): string | undefined {
    const content = contentOf(row)
    if (content === undefined) return 'a row of it is not as it was written'
    try {
      if (this.head) return this.#takeEntry(parseEntry(content, this.head), entries)
      this.start = parseStart(content)
    } catch {
      return 'a row of it is none'
    }
    if (!this.start) return 'its first row is none that this version knows'
    this.head = { seq: this.start.seq, head: this.start.head }
    return undefined
  }

  #takeEntry(entry: JournalEntry | string, entries: JournalEntry[]): string | undefined {
    if (typeof entry === 'string') return entry
    entries.push(entry)
    this.head = { seq: entry.line.seq, head: entry.line.hash }
    return undefined
  }

  #spoiled(why: string): void {
    if (this.start && this.start.boot !== this.#boot) return
    this.damage = { seq: (this.head?.seq ?? 0) + 1, why: `the journal is damaged: ${why}` }
  }
}

const LF = 10

function readFrom(fd: number, from: number, length: number): Buffer {
  if (length <= 0) return Buffer.alloc(0)
  if (length > journalBytesMax) throw new Error('the journal is too long')
  const bytes = Buffer.allocUnsafe(length)
  let filled = 0
  while (filled < length) {
    const read = readSync(fd, bytes, filled, length - filled, from + filled)
    if (read === 0) break
    filled += read
  }
  return bytes.subarray(0, filled)
}
