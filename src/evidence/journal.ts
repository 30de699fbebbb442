import assert from 'node:assert/strict'
import {
  close,
  fstatSync,
  ftruncateSync,
  readSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeSync,
  type Stats,
} from 'node:fs'
import { MayflyError } from '../contract/error.ts'
import { bootId } from '../lib/owner.ts'
import { extend, type AppendedLine, type ChainHead, type Draft } from './chain.ts'
import { openAt, openDraft, openJournalFile, readJournalFile } from './journal-file.ts'
import { JournalReader, journalBytesMax } from './journal-reader.ts'
import { rowOfEntry, rowOfStart, type JournalEntry } from './journal-row.ts'
import { isFull } from './state-error.ts'

/**
 * Write-ahead log of lines that the database does not have yet, shared by all processes of a state folder.
 *
 * Mechanism: an append takes the write lock of the database (a transaction without changes: 7 µs), reads the lines that other
 * processes appended since, chains its line after them and writes it with one write(2). It is in the page cache then, so a crash
 * of the process loses nothing. Lines are copied into the database asynchronously (journal-fill.ts), synced there, and then
 * dropped here: the file is replaced by one with the remaining lines, or removed if there are none. A process whose open file was
 * unlinked opens the next one.
 *
 * The journal itself is never synced: a power failure loses the lines that the database had not synced, as without a journal.
 *
 * Not handled: hard links of the database file. SQLite locks the file, while the journal belongs to the folder.
 */
export class Journal {
  readonly #path: string
  readonly #draft: string
  readonly #parts: JournalParts
  #fd: number | undefined
  #reader: JournalReader | undefined
  /** Last known line of the chain. */
  #head: ChainHead | undefined
  #roomAt = -Infinity

  constructor(path: string, parts: JournalParts) {
    this.#path = path
    this.#draft = `${path}.new`
    this.#parts = parts
  }

  /** Runs `work` under the write lock, after reading the journal to its end. */
  locked<T>(work: () => T): T {
    return this.#parts.exclusively(() => {
      const open = this.#openAtItsPlace
      if (!open) this.release()
      this.#fd ??= openJournalFile(this.#path)
      this.#catchUp(this.#fd, (open ?? fstatSync(this.#fd)).size)
      return work()
    })
  }

  /** True if there is a journal file: the database may be incomplete then. */
  get exists(): boolean {
    if (this.#openAtItsPlace) return true
    using file = readJournalFile(this.#path)
    return file !== undefined
  }

  /** Stat fields of the open file; undefined if it was dropped or renamed, since readers cannot find it then. */
  get #openAtItsPlace(): Stats | undefined {
    return this.#fd === undefined ? undefined : openAt(this.#path, this.#fd)
  }

  /** Last line of the chain; within `locked`. */
  get head(): ChainHead {
    assert(this.#head, 'the journal was not read')
    return this.#head
  }

  /** Appends the next line; within `locked`. */
  append(draft: Draft, more: Pick<JournalEntry, 'salts' | 'ends'>): AppendedLine {
    const line = extend(this.head, draft)
    assertStorable(line)
    this.#assertRoom()
    this.#write(rowOfEntry({ line, ...more }), { seq: line.seq, head: line.hash })
    return line
  }

  /** Drops the lines up to `seq`, which the database has synced. */
  drop({ seq, head }: ChainHead): void {
    this.locked(() => {
      assert(this.#parts.stored().seq >= seq, `line ${seq} is not in the database yet`)
      const reader = this.#reader!
      const start = reader.start?.seq ?? 0
      if (seq < this.head.seq && seq <= start) return
      // Left by a killed process.
      rmSync(this.#draft, { force: true })
      if (seq >= this.head.seq) unlinkSync(this.#path)
      else this.#replace(rowOfStart({ boot: bootId(), seq, head }), reader.ends[seq - start]!)
      this.release()
    })
  }

  /** Closes the file in the thread pool: freeing the blocks of an unlinked file may wait for the disk. */
  release(): void {
    if (this.#fd !== undefined) close(this.#fd)
    this.#fd = undefined
    this.#reader = undefined
  }

  #catchUp(fd: number, size: number): void {
    const reader = this.#reader
    if (reader && reader.offset === size && size > 0) return
    if (reader && size < reader.offset) throw changed('it was truncated while in use')
    if (reader?.start) this.#takeNew(reader, reader.read())
    else this.#open(fd)
    if (fstatSync(fd).size > this.#reader!.offset) ftruncateSync(fd, this.#reader!.offset)
    if (this.#reader!.offset === 0) this.#begin()
  }

  /** Reads a file that is new to this process, and compares it with the known part of the chain. */
  #open(fd: number): void {
    const reader = new JournalReader(fd)
    const entries = reader.read()
    assertWhole(reader)
    const stored = this.#parts.stored()
    const { start, head } = reader
    if (start) this.#assertFollows(start, entries, stored)
    // Left by a power failure: the database has all its lines.
    const isBehind = !start || !head || head.seq < stored.seq
    if (isBehind) reader.ends.length = 0
    const next = isBehind ? stored : head
    const last = this.#head
    this.#assertGrown(next, entries)
    this.#reader = reader
    this.#head = next
    const first = isBehind ? stored : start
    this.#parts.onForeign(entries, last === undefined || first.seq > last.seq)
  }

  #takeNew(reader: JournalReader, entries: readonly JournalEntry[]): void {
    assertWhole(reader)
    this.#head = reader.head
    this.#parts.onForeign(entries, false)
  }

  /** Asserts that a journal starts at a line of the database, and that their common lines are equal. */
  #assertFollows(start: ChainHead, entries: readonly JournalEntry[], stored: ChainHead): void {
    if (start.seq > stored.seq) throw changed(`line ${stored.seq + 1} is missing in the database`)
    const both = entries.findLast(({ line }) => line.seq <= stored.seq)?.line
    const [seq, hash] = both ? [both.seq, both.hash] : [start.seq, start.head]
    const known = seq === stored.seq ? stored.head : this.#parts.hashAt(seq)
    if (known !== hash) throw changed(`line ${seq} differs from that of the database`)
  }

  /** Asserts that no line known to this process is missing. */
  #assertGrown(next: ChainHead, entries: readonly JournalEntry[]): void {
    const last = this.#head
    if (!last) return
    const entry = entries.find(({ line }) => line.seq === last.seq)?.line
    const hash = entry ? entry.hash : this.#parts.hashAt(last.seq)
    if (next.seq < last.seq || hash !== last.head) throw changed(`line ${last.seq} is gone`)
  }

  /** Starts an empty file after the last line of the database. */
  #begin(): void {
    this.#assertRoom()
    const start = { ...this.head, boot: bootId() }
    this.#reader = new JournalReader(this.#fd!)
    this.#write(rowOfStart(start), this.head)
    // After the write: a reader without a first row is replaced by the next call.
    this.#reader.start = start
  }

  /** Writes a row completely or not at all: a partial write on a full disk would leave a torn row. */
  #write(row: string, head: ChainHead): void {
    const reader = this.#reader!
    const bytes = Buffer.byteLength(row)
    if (reader.offset + bytes > (this.#parts.bytesMax ?? journalBytesMax))
      throw new MayflyError('STATE', 'Cannot write the record: its database takes no lines', {
        hint: 'See what keeps "audit.db" locked, or whether its disk answers.',
      })
    try {
      if (writeSync(this.#fd!, row) !== bytes) throw diskIsFull()
    } catch (thrown) {
      ftruncateSync(this.#fd!, reader.offset)
      throw thrown
    }
    reader.wrote({ bytes, head })
    this.#head = head
  }

  /** Checks for free space: the last page of a file has room on a full disk, but the database would have none for its lines. */
  #assertRoom(): void {
    const now = performance.now()
    if (now - this.#roomAt < roomMs) return
    if (isFull(this.#path)) throw diskIsFull()
    this.#roomAt = now
  }

  #replace(start: string, from: number): void {
    const rest = Buffer.alloc(this.#reader!.offset - from)
    assert.equal(readSync(this.#fd!, rest, 0, rest.length, from), rest.length)
    using draft = openDraft(this.#draft)
    try {
      const whole = Buffer.concat([Buffer.from(start), rest])
      if (writeSync(draft.fd, whole) !== whole.length) throw diskIsFull()
      renameSync(this.#draft, this.#path)
    } catch (thrown) {
      rmSync(this.#draft, { force: true })
      throw thrown
    }
  }
}

export interface JournalParts {
  /** Default: `journalBytesMax`. */
  readonly bytesMax?: number
  /** Runs work with the write lock of the database. */
  exclusively<T>(work: () => T): T
  /** Last line of the database. */
  stored(): ChainHead
  /** Hash of a line of the database. */
  hashAt(seq: number): string | undefined
  /** Entries appended by another process; `isNewFile`: earlier lines may have been missed. */
  onForeign(entries: readonly JournalEntry[], isNewFile: boolean): void
}

/** Content of a journal; undefined if there is none. Takes no lock: an incomplete row is ignored. */
export function readJournal(path: string): JournalContent | undefined {
  using file = readJournalFile(path)
  if (!file) return undefined
  const reader = new JournalReader(file.fd)
  const entries = reader.read()
  const { start, damage } = reader
  return { start, entries, damage }
}

export interface JournalContent extends Pick<JournalReader, 'start' | 'damage'> {
  readonly entries: readonly JournalEntry[]
}

/** Time for which a positive check for free space is trusted. */
const roomMs = 10
const hint =
  'Run "mayfly audit verify"; to go on without the lines of "audit.journal", keep a copy of it and remove it.'

function assertWhole({ damage }: JournalReader): void {
  if (damage) throw changed(damage.why, damage.seq)
}

function changed(why: string, seq?: number): MayflyError {
  const at = seq === undefined ? '' : ` at line ${seq}`
  return new MayflyError('STATE', `Cannot use the record${at}: ${why}`, { hint })
}

function diskIsFull(): Error {
  return Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
}

/** Asserts that a line can be stored as UTF-8 and integers: one that cannot would block all later ones. */
function assertStorable({ seq, at, run, tenant, status }: AppendedLine): void {
  const names = [run, tenant, status]
  if (Number.isSafeInteger(at) && names.every((name) => name?.isWellFormed() ?? true)) return
  throw new Error(`line ${seq} cannot be stored as it is`)
}
