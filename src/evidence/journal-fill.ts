import assert from 'node:assert/strict'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { MayflyError } from '../contract/error.ts'
import type { FileDescriptor } from '../lib/file-descriptor.ts'
import type { ChainHead, StoredLine } from './chain.ts'
import { headSql, insertLine, insertSql, lineSql, storedLine, type Row } from './connection.ts'
import { transact } from '../lib/sqlite.ts'
import { openAt, journalOf, readJournalFile } from './journal-file.ts'
import { JournalReader } from './journal-reader.ts'
import type { JournalEntry } from './journal-row.ts'

/**
 * Copies lines of a journal into its database. Takes no lock of the journal: only complete rows are read, and lines that the
 * database already has are skipped, so several processes may copy at once.
 */
export class JournalFill {
  readonly #db: DatabaseSync
  readonly #path: string
  readonly #insert: StatementSync
  readonly #line: StatementSync
  readonly #head: StatementSync
  readonly #keepSalts: StatementSync
  readonly #markOpen: StatementSync
  readonly #markEnded: StatementSync
  #open: { readonly file: FileDescriptor; readonly reader: JournalReader } | undefined

  constructor(db: DatabaseSync, database: string) {
    this.#db = db
    this.#path = journalOf(database)
    this.#insert = db.prepare(insertSql)
    this.#line = db.prepare(lineSql)
    this.#head = db.prepare(headSql)
    this.#keepSalts = db.prepare('INSERT INTO salts VALUES (?, ?)')
    this.#markOpen = db.prepare('INSERT INTO open_lines VALUES (?)')
    this.#markEnded = db.prepare('DELETE FROM open_lines WHERE seq = ?')
  }

  /**
   * Copies about `bytesMax` bytes of lines in one transaction, or an eighth of the backlog if that is more: otherwise lines could
   * arrive faster than they are copied, and fill the journal. True if more lines up to `upTo` are left.
   * Throws MayflyError STATE if the journal is damaged, after the lines before that.
   */
  fill(bytesMax: number, upTo: number): boolean {
    const reader = this.#reader()
    if (!reader) return false
    const entries = reader.read(Math.max(bytesMax, Math.ceil(reader.bytesLeft / PARTS_LEFT)))
    if (entries.length > 0) this.#commit(entries)
    const { damage } = reader
    if (!damage) return !reader.isAtEnd && (reader.head?.seq ?? 0) < upTo
    this.close()
    throw new MayflyError('STATE', `Cannot store line "${damage.seq}": ${damage.why}`)
  }

  close(): void {
    this.#open?.file[Symbol.dispose]()
    this.#open = undefined
  }

  /** Reader of the current journal file; undefined if there is none. */
  #reader(): JournalReader | undefined {
    if (this.#open && openAt(this.#path, this.#open.file.fd)) return this.#open.reader
    this.close()
    const file = readJournalFile(this.#path)
    if (!file) return undefined
    this.#open = { file, reader: new JournalReader(file.fd) }
    return this.#open.reader
  }

  /** Runs in a transaction of its own, unless the caller has one. */
  #commit(entries: readonly JournalEntry[]): void {
    try {
      if (this.#db.isTransaction) this.#takeAll(entries)
      else transact(this.#db, () => this.#takeAll(entries))
    } catch (thrown) {
      // The next call reads them again.
      this.close()
      throw thrown
    }
  }

  #takeAll(entries: readonly JournalEntry[]): void {
    const before = this.head()
    let head = before
    const opened = new Set<number>()
    for (const entry of entries) head = this.#take(entry, head, opened)
    for (const seq of opened) this.#markOpen.run(seq)
    const { line } = entries.at(-1)!
    if (line.seq > before.seq) assertSame(line, this.#line.get(line.seq))
  }

  head(): ChainHead {
    const row = this.#head.get()
    if (!row) throw new Error('the genesis line is missing')
    return { seq: Number(row['seq']), head: String(row['hash']) }
  }

  /** `opened`: admitted lines of the same transaction, most of which also end in it. */
  #take({ line, salts, ends }: JournalEntry, head: ChainHead, opened: Set<number>): ChainHead {
    if (line.seq < head.seq) return head
    const next = { seq: line.seq, head: line.hash }
    if (line.seq === head.seq) {
      assert(
        next.head === head.head,
        `line ${line.seq} of the journal differs from that of the database`,
      )
      return head
    }
    assert(line.seq === head.seq + 1, `line ${head.seq + 1} is missing`)
    assert(line.previous === head.head, `line ${line.seq} does not follow the line before it`)
    insertLine(this.#insert, line)
    if (salts) this.#keepSalts.run(line.seq, salts)
    if (salts) opened.add(line.seq)
    if (ends !== undefined && !opened.delete(ends)) this.#markEnded.run(ends)
    return next
  }
}

const PARTS_LEFT = 8

/**
 * Reads back the last line of a transaction. The reader has verified the hash of each line in the journal; reading back all of
 * them would cost 6 µs each, and strings that SQLite would change are refused earlier.
 */
function assertSame(line: StoredLine, row: Row | undefined): void {
  const read = row && storedLine(row)
  const names = Object.keys(line) as (keyof StoredLine)[]
  const isSame = read && names.every((name) => read[name] === line[name])
  assert(isSame, `line ${line.seq} does not read back as it was hashed`)
}
