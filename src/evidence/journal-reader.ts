import { fstatSync } from 'node:fs'
import { readAt } from '../lib/file-descriptor.ts'
import { bootId } from '../lib/owner.ts'
import type { ChainHead } from './chain.ts'
import {
  rowContentOf,
  parseEntry,
  parseStart,
  type JournalEntry,
  type JournalStart,
} from './journal-row.ts'

/** Size limit of a journal: several minutes of lines, for the case that the database cannot be written. */
export const journalBytesMax = 64 * 2 ** 20

/** First damaged part of a journal. */
export interface JournalDamage {
  /** Expected line number at that position. */
  readonly seq: number
  readonly why: string
}

/**
 * Reads a journal from its start, and with each further call the rows appended since. Verifies each row by its
 * checksum and each line by the chain.
 *
 * A killed writer leaves at most an incomplete last row without a line feed: `torn`. Anything else that fails verification is
 * damage. After a reboot it counts as torn too: a power failure loses unsynced pages in any order, and everything after the
 * first lost page was unsynced as well.
 */
export class JournalReader {
  /** First row; undefined while it is incomplete. */
  start: JournalStart | undefined
  head: ChainHead | undefined
  /** End offset of each row; index n is line `start.seq + n`. */
  readonly ends: number[] = []
  damage: JournalDamage | undefined
  readonly #fd: number

  constructor(fd: number) {
    this.#fd = fd
  }

  /** End offset of the rows read, or written by this process. */
  get offset(): number {
    return this.ends.at(-1) ?? 0
  }

  /** Bytes of the file after that offset. */
  get bytesLeft(): number {
    return fstatSync(this.#fd).size - this.offset
  }

  /** Accounts for a row written by this process. */
  wrote(row: { readonly bytes: number; readonly head: ChainHead }): void {
    this.ends.push(this.offset + row.bytes)
    this.head = row.head
  }

  /** True if the last call read to the end of the file. */
  isAtEnd = false

  /** Entries of the rows after `offset`, about `bytesMax` bytes; in case of damage, those before it. */
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
    // A torn row is incomplete; a complete row without a line feed is damage.
    const rest = bytes.subarray(at, -1)
    if (rest.length > 0 && rowContentOf(rest) !== undefined)
      this.#spoiled('its last row has no line feed')
    return entries
  }

  /** Returns the reason why a row is invalid. */
  #take(row: Buffer, entries: JournalEntry[]): string | undefined {
    const content = rowContentOf(row)
    if (content === undefined) return 'the checksum of a row does not match'
    try {
      if (this.head) return this.#takeEntry(parseEntry(content, this.head), entries)
      this.start = parseStart(content)
    } catch {
      return 'a row is malformed'
    }
    if (!this.start) return 'this version does not know the format of its first row'
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
    if (this.start && this.start.boot !== bootId()) return
    this.damage = { seq: (this.head?.seq ?? 0) + 1, why: `the journal is damaged: ${why}` }
  }
}

const LF = 10

function readFrom(fd: number, from: number, length: number): Buffer {
  if (length <= 0) return Buffer.alloc(0)
  if (length > journalBytesMax) throw new Error('the journal is too long')
  return readAt(fd, from, length)
}
