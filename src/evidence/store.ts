import { fdatasyncSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { MayflyError } from '../contract/error.ts'
import type { Checkpoint } from '../contract/evidence.ts'
import { openDescriptor } from '../lib/file-descriptor.ts'
import { chainStart } from '../lib/hash-chain.ts'
import { newId } from '../lib/id.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { transact } from '../lib/sqlite.ts'
import { assertOwnState } from '../lib/state-folder.ts'
import { claimStoreFile } from '../lib/store-file.ts'
import {
  draft,
  extend,
  type AppendedLine,
  type ChainHead,
  type Draft,
  type StoredLine,
} from './chain.ts'
import {
  insertLine,
  insertSql,
  isLocked,
  keepLines,
  lineColumns,
  openAuditDatabase,
  pause,
  storedCheckpoint,
  storedLine,
  type Row,
} from './connection.ts'
import { JournalFill } from './journal-fill.ts'
import { journalOf } from './journal-file.ts'
import { Journal } from './journal.ts'
import type { JournalEntry } from './journal-row.ts'
import { assertKnownSchema } from './known-schema.ts'
import { stateError } from './state-error.ts'

/**
 * The record's lines and checkpoints, the salts, which can be deleted, and the open jobs. Any number of processes can share a
 * folder.
 *
 * Mechanism: a line is appended to the journal (journal.ts) and copied into `audit.db` asynchronously soon after
 * (filler.ts). The database is in WAL mode without a sync on commit: a power cut can lose the tail since the last sync,
 * which comes with each checkpoint; a process crash loses nothing. Methods that need lines of the database copy them first.
 */
export class AuditStore {
  readonly #db: DatabaseSync
  readonly #path: string
  readonly #fill: JournalFill
  readonly #journal: Journal
  readonly #lastCheckpoint: StatementSync
  readonly #hash: StatementSync
  readonly #isOpen: StatementSync
  /** Admitted lines of this process without an end. */
  readonly #own = new Set<number>()

  constructor(db: DatabaseSync, path: string) {
    this.#db = db
    this.#path = path
    this.#fill = new JournalFill(db, path)
    this.#lastCheckpoint = db.prepare('SELECT * FROM checkpoints ORDER BY seq DESC LIMIT 1')
    this.#hash = db.prepare('SELECT hash FROM audit WHERE seq = ?')
    this.#isOpen = db.prepare('SELECT 1 FROM open_lines WHERE seq = ?')
    const [begin, commit] = [db.prepare('BEGIN IMMEDIATE'), db.prepare('COMMIT')]
    this.#journal = new Journal(journalOf(path), {
      exclusively: (work) => {
        begin.run()
        try {
          const value = work()
          commit.run()
          return value
        } catch (thrown) {
          if (db.isTransaction) db.exec('ROLLBACK')
          // Lines copied in the rolled back transaction must be copied again.
          this.#fill.close()
          throw thrown
        }
      },
      stored: () => this.#fill.head(),
      hashAt: (seq) => this.#hash.get(seq)?.['hash'] as string | undefined,
      onForeign: (entries, hasMissed) => this.#forgetEnded(entries, hasMissed),
    })
  }

  /** Appends the next line; with `salts`, keeps them and marks the line open until `end`. */
  append(line: Draft, salts?: Uint8Array): AppendedLine {
    return this.#locked(() => {
      const next = this.#journal.append(line, { salts, ends: undefined })
      if (salts) this.#own.add(next.seq)
      return next
    })
  }

  /** Appends the line that ends `opened`; undefined if another process ended it first. */
  end(line: Draft, opened: number): AppendedLine | undefined {
    return this.#locked(() => {
      if (!this.#own.has(opened) && !this.#isStillOpen(opened)) return undefined
      const next = this.#journal.append(line, { salts: undefined, ends: opened })
      this.#own.delete(opened)
      return next
    })
  }

  head(): ChainHead {
    return this.#guard('read', () =>
      this.#journal.exists ? this.#journal.locked(() => this.#journal.head) : this.#fill.head(),
    )
  }

  /** Recovers the journal of an earlier process, or refuses a damaged one. */
  recovered(): this {
    if (!this.#journal.exists) return this
    this.#journal.locked(() => undefined)
    this.fill()
    return this
  }

  /** Copies lines of the journal into the database, up to a byte limit or all; true if more lines up to `upTo` are left. */
  fill(bytesMax = Infinity, upTo = Infinity): boolean {
    try {
      return this.#guard('write', () => this.#fill.fill(bytesMax, upTo))
    } catch (thrown) {
      // Damage, not a lock or a full disk: the next append reads the whole journal, and refuses it.
      if (!isOfSqlite(thrown)) this.#journal.release()
      throw thrown
    }
  }

  /** Drops lines of the journal that the database has synced. */
  drop(upTo: ChainHead): void {
    this.#guard('write', () => {
      if (this.#journal.exists) this.#journal.drop(upTo)
    })
  }

  /** Admitted lines without an end, oldest first. */
  open(): readonly OpenLine[] {
    const sql = `SELECT ${lineColumns} FROM open_lines JOIN audit USING (seq) ORDER BY seq`
    this.fill()
    return this.#guard('read', () => this.#db.prepare(sql).all().map(storedLine))
  }

  *lines(afterSeq: number, upToSeq: number): Iterable<StoredLine> {
    const sql = `SELECT ${lineColumns} FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq`
    if (upToSeq > this.#fill.head().seq) this.fill()
    for (const row of this.#db.prepare(sql).iterate(afterSeq, upToSeq)) yield storedLine(row)
  }

  lastCheckpoint(): Checkpoint | undefined {
    return this.#guard('read', () => {
      const row = this.#lastCheckpoint.get()
      return row && storedCheckpoint(row)
    })
  }

  addCheckpoint(c: Checkpoint): void {
    const sql =
      'INSERT OR IGNORE INTO checkpoints (seq, head, at, key, signature) VALUES (?, ?, ?, ?, ?)'
    this.#guard('write', () => this.#db.prepare(sql).run(c.seq, c.head, c.at, c.key, c.signature))
  }

  /** Takes or renews the signing lock of this state folder; false while another process holds it. */
  lock(holder: string, now: number, untilMs: number, isGone: (holder: string) => boolean): boolean {
    return this.#write(() => {
      const row = this.#db.prepare('SELECT holder, since, until FROM signing').get()
      if (row && !mayTake(row, holder, now, isGone)) return false
      const sql = 'INSERT OR REPLACE INTO signing VALUES (1, ?, ?, ?)'
      this.#db.prepare(sql).run(holder, now, untilMs)
      return true
    })
  }

  unlock(holder: string): void {
    this.#guard('write', () => this.#db.prepare('DELETE FROM signing WHERE holder = ?').run(holder))
  }

  salts(seq: number): Uint8Array | undefined {
    this.fill()
    return this.#guard('read', () => {
      const row = this.#db.prepare('SELECT salts FROM salts WHERE seq = ?').get(seq)
      return row?.['salts'] as Uint8Array | undefined
    })
  }

  /** Deletes salts of lines before `seq`, so that their commitments can never be opened. */
  forgetSalts(beforeSeq: number): number {
    this.#settle()
    return this.#guard('write', () =>
      Number(this.#db.prepare('DELETE FROM salts WHERE seq < ?').run(beforeSeq).changes),
    )
  }

  /** Writes the WAL back (SQLite checkpoint). */
  writeBack(): void {
    this.#guard('write', () => this.#db.exec('PRAGMA wal_checkpoint(PASSIVE)'))
  }

  /** Copies all lines and removes the journal; on a full disk the journal stays for the next start. */
  close(): void {
    if (!this.#db.isOpen) return
    try {
      this.#settle()
    } catch {
      // Readers and the next start find the lines in the journal.
    }
    this.#fill.close()
    this.#journal.release()
    this.#db.close()
  }

  #settle(): void {
    this.#guard('write', () => {
      if (!this.#journal.exists) return
      this.#fill.fill(Infinity, Infinity)
      const head = this.#fill.head()
      syncWal(this.#path)
      this.#journal.drop(head)
    })
  }

  /** Looks in the database, for a line that another process admitted. */
  #isStillOpen(opened: number): boolean {
    this.#fill.fill(Infinity, Infinity)
    return this.#isOpen.get(opened) !== undefined
  }

  #forgetEnded(entries: readonly JournalEntry[], hasMissed: boolean): void {
    for (const { ends } of entries) if (ends !== undefined) this.#own.delete(ends)
    if (!hasMissed) return
    const stored = this.#fill.head().seq
    for (const seq of this.#own) if (seq <= stored && !this.#isOpen.get(seq)) this.#own.delete(seq)
  }

  #locked<T>(work: () => T): T {
    return this.#guard('write', () => this.#journal.locked(work))
  }

  /** Runs work in an IMMEDIATE transaction: all or nothing. */
  #write<T>(work: () => T): T {
    return this.#guard('write', () => transact(this.#db, work))
  }

  #guard<T>(action: string, work: () => T): T {
    try {
      return work()
    } catch (thrown) {
      throw stateError(action, this.#path, thrown)
    }
  }
}

export type OpenLine = Pick<StoredLine, 'seq' | 'run' | 'tenant' | 'bodyText'>

/** Tables of a record, and no others. */
export const schema = `
CREATE TABLE meta (format INTEGER NOT NULL) STRICT;
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, run TEXT, tenant TEXT, status TEXT,
  body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TABLE checkpoints (
  seq INTEGER PRIMARY KEY, head TEXT NOT NULL, at INTEGER NOT NULL, key TEXT NOT NULL,
  signature TEXT NOT NULL) STRICT;
CREATE TABLE open_lines (seq INTEGER PRIMARY KEY) STRICT;
CREATE TABLE salts (seq INTEGER PRIMARY KEY, salts BLOB NOT NULL) STRICT;
CREATE TABLE signing (
  id INTEGER PRIMARY KEY CHECK (id = 1), holder TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES (2);`

/** Opens the log for appending, created with a genesis line dated `at` on first use. */
export function openStore(path: string, at: number): AuditStore {
  try {
    assertOwnState(dirname(path))
    makeFolder(dirname(path), 0o700)
    claimStoreFile(path)
    const db = openPrepared(path, at)
    try {
      return new AuditStore(db, path).recovered()
    } catch (thrown) {
      db.close()
      throw thrown
    }
  } catch (thrown) {
    throw stateError('open', path, thrown)
  }
}

/** Creates the tables on first use, and migrates a log of the previous format. */
function openPrepared(path: string, at: number): DatabaseSync {
  const db = openAuditDatabase(path)
  try {
    transact(db, () => {
      if (db.prepare('SELECT 1 FROM sqlite_schema').get()) return
      db.exec(schema)
      insertLine(db.prepare(insertSql), extend({ seq: 0, head: chainStart }, genesis(at)))
    })
    assertKnownSchema(db, path, schema)
    const found = knownFormat(db, path)
    const current = found === format ? db : migrated(db, path)
    keepLines(current)
    return current
  } catch (thrown) {
    if (db.isOpen) db.close()
    throw thrown
  }
}

/**
 * Migrates a log to the format in which lines may be in a journal. Requires that no other process has it open, as SQLite does for
 * leaving WAL mode: a process of an older version would ignore the journal.
 */
function migrated(db: DatabaseSync, path: string): DatabaseSync {
  const until = performance.now() + migrateMsMax
  for (let own = db; ; own = openAuditDatabase(path)) {
    try {
      // Another process of this version may have done it.
      if (own !== db && knownFormat(own, path) === format) return own
      own.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE')
      transact(own, () => own.exec(`UPDATE meta SET format = ${format}`))
      own.close()
      return openAuditDatabase(path)
    } catch (thrown) {
      if (own.isOpen) own.close()
      if (!isLocked(thrown)) throw thrown
      if (performance.now() > until) throw inUse(path, thrown)
    }
    pause(migrateStepMs)
  }
}

const migrateMsMax = 2000
const migrateStepMs = 20

function isOfSqlite(thrown: unknown): boolean {
  const { cause } = thrown as { readonly cause?: { readonly errcode?: number } }
  return cause?.errcode !== undefined
}

function inUse(path: string, cause: unknown): MayflyError {
  return new MayflyError(
    'STATE',
    `Cannot use "${path}": another program has it open, such as an older version of Mayfly`,
    {
      hint: 'Stop the programs that use this state folder, then start again; older versions of Mayfly cannot use it afterwards.',
      cause,
    },
  )
}

/** Random log name: lines of one log are useless in another. */
function genesis(at: number): Draft {
  const body = { log: newId('log', at) }
  return draft({ at, kind: 'genesis', run: null, tenant: null, status: null, body })
}

/** Format of logs with a journal; logs of format 1 have none. */
const format = 2
const formats: readonly unknown[] = [1, format]

/** Refuses unknown formats, so that no version writes into a file it does not know. */
export function knownFormat(db: DatabaseSync, path: string): number {
  const found = db.prepare('SELECT format FROM meta').get()?.['format']
  if (formats.includes(found)) return Number(found)
  throw new MayflyError(
    'STATE',
    `Cannot use "${path}": its format is "${String(found)}", not "${format}"`,
    {
      hint: 'Use the version of Mayfly that wrote it, or another state folder.',
    },
  )
}

/** True if the lock is held by `holder` itself, by a dead process, or its lease expired or began in the future (clock set back). */
function mayTake(row: Row, holder: string, now: number, isGone: (h: string) => boolean): boolean {
  const owner = String(row['holder'])
  const late = Number(row['until']) <= now || Number(row['since']) > now
  return owner === holder || late || isGone(owner)
}

function syncWal(path: string): void {
  using wal = openDescriptor(`${path}-wal`, 'r+')
  fdatasyncSync(wal.fd)
}
