import assert from 'node:assert/strict'
import { dirname } from 'node:path'
import { constants, DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite'
import { MayflyError } from '../contract/error.ts'
import type { Checkpoint, RecordLineKind } from '../contract/evidence.ts'
import { chainStart } from '../lib/hash-chain.ts'
import { newId } from '../lib/id.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { transact } from '../lib/sqlite.ts'
import { claimStoreFile } from '../lib/store-file.ts'
import { draft, extend, whyNotNext, type Draft, type ChainHead, type StoredLine } from './chain.ts'
import { assertKnownSchema, distrustSchema } from './known-schema.ts'
import { stateError } from './state-error.ts'

/**
 * `audit.db`: lines and checkpoints, and beside the record the salts, which can be forgotten, and the open
 * jobs. Any number of processes share the file.
 *
 * Mechanism: an append is one IMMEDIATE transaction that reads the head and inserts the line; in WAL mode without a
 * sync on commit it costs some 20 µs. A power cut can lose the tail since the last sync, which comes with each
 * checkpoint; a process crash loses nothing. A timer writes the WAL back, so no append pays for it.
 *
 * An authorizer on the connection makes it append-only for Mayfly itself. A trigger in the file would add nothing:
 * any writer of the file could drop it. Foreign changes are detected by the chain.
 */
export class AuditStore {
  readonly #db: DatabaseSync
  readonly #path: string
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #head: StatementSync
  readonly #insert: StatementSync
  readonly #line: StatementSync
  readonly #keepSalts: StatementSync
  readonly #markOpen: StatementSync
  readonly #markEnded: StatementSync
  readonly #lastCheckpoint: StatementSync

  constructor(db: DatabaseSync, path: string) {
    this.#db = db
    this.#path = path
    this.#begin = db.prepare('BEGIN IMMEDIATE')
    this.#commit = db.prepare('COMMIT')
    this.#head = db.prepare('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1')
    this.#insert = db.prepare(insertSql)
    this.#line = db.prepare(`SELECT ${lineColumns} FROM audit WHERE seq = ?`)
    this.#keepSalts = db.prepare('INSERT INTO salts VALUES (?, ?)')
    this.#markOpen = db.prepare('INSERT INTO open_lines VALUES (?)')
    this.#markEnded = db.prepare('DELETE FROM open_lines WHERE seq = ?')
    this.#lastCheckpoint = db.prepare('SELECT * FROM checkpoints ORDER BY seq DESC LIMIT 1')
  }

  /** Appends the next line; with `salts`, stores them and marks the line open until `end`. */
  append(line: Draft, salts?: Uint8Array): AppendedLine {
    return this.#write(() => {
      const next = this.#chain(line)
      if (salts) {
        this.#keepSalts.run(next.seq, salts)
        this.#markOpen.run(next.seq)
      }
      return next
    })
  }

  /** Appends the line that ends `opened`; undefined if another process ended it first. */
  end(line: Draft, opened: number): AppendedLine | undefined {
    return this.#write(() => {
      if (this.#markEnded.run(opened).changes !== 1) return undefined
      return this.#chain(line)
    })
  }

  head(): ChainHead {
    return this.#guard('read', () => this.#readHead())
  }

  /** Admitted lines without an end, oldest first. */
  open(): readonly OpenLine[] {
    const sql = 'SELECT seq, run, tenant, body FROM open_lines JOIN audit USING (seq) ORDER BY seq'
    return this.#guard('read', () => this.#db.prepare(sql).all().map(openLine))
  }

  *lines(afterSeq: number, upToSeq: number): Iterable<StoredLine> {
    const sql = `SELECT ${lineColumns} FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq`
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
    return this.#guard('read', () => {
      const row = this.#db.prepare('SELECT salts FROM salts WHERE seq = ?').get(seq)
      return row?.['salts'] as Uint8Array | undefined
    })
  }

  /** Deletes salts of lines before `seq`, so that their commitments can never be opened. */
  forgetSalts(beforeSeq: number): number {
    return this.#guard('write', () =>
      Number(this.#db.prepare('DELETE FROM salts WHERE seq < ?').run(beforeSeq).changes),
    )
  }

  /** Writes the WAL back (SQLite checkpoint). */
  writeBack(): void {
    this.#guard('write', () => this.#db.exec('PRAGMA wal_checkpoint(PASSIVE)'))
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  /** Inserts the next line, and throws AssertionError unless it reads back as the one that was hashed. */
  #chain(line: Draft): AppendedLine {
    const head = this.#readHead()
    const next = extend(head, line)
    insertLine(this.#insert, next)
    const why = whyNotNext(head, storedLine(this.#line.get(next.seq)!))
    assert(why === undefined, `line ${next.seq} breaks the chain: ${why}`)
    return next
  }

  #readHead(): ChainHead {
    const row = this.#head.get()
    if (!row) throw new Error('the genesis line is missing')
    return { seq: Number(row['seq']), head: String(row['hash']) }
  }

  /** Runs work in an IMMEDIATE transaction: all or nothing. */
  #write<T>(work: () => T): T {
    return this.#guard('write', () => {
      this.#begin.run()
      try {
        const result = work()
        this.#commit.run()
        return result
      } catch (thrown) {
        rollBack(this.#db)
        throw thrown
      }
    })
  }

  #guard<T>(action: string, work: () => T): T {
    try {
      return work()
    } catch (thrown) {
      throw stateError(action, this.#path, thrown)
    }
  }
}

export type AppendedLine = StoredLine & { readonly digest: string }
export type OpenLine = Pick<StoredLine, 'seq' | 'run' | 'tenant' | 'bodyText'>

const busyMs = 5000
/** WAL limit in pages of 4 KiB, in case no timer writes it back. */
const walPagesMax = 20_000

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
INSERT INTO meta VALUES (1);`

/** Opens the log for appending, created with a genesis line dated `at` on first use. */
export function openStore(path: string, at: number): AuditStore {
  try {
    makeFolder(dirname(path), 0o700)
    claimStoreFile(path)
    const db = new DatabaseSync(path, { timeout: busyMs })
    try {
      prepareFile(db, path, at)
      return new AuditStore(db, path)
    } catch (thrown) {
      db.close()
      throw thrown
    }
  } catch (thrown) {
    throw stateError('open', path, thrown)
  }
}

function prepareFile(db: DatabaseSync, path: string, at: number): void {
  distrustSchema(db)
  db.exec('PRAGMA journal_mode = WAL')
  db.exec(`PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = ${walPagesMax}`)
  db.exec('PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 67108864')
  transact(db, () => {
    const made = db.prepare('SELECT 1 FROM sqlite_schema').get()
    if (!made) {
      db.exec(schema)
      insertLine(db.prepare(insertSql), extend({ seq: 0, head: chainStart }, genesis(at)))
    }
  })
  assertKnownSchema(db, path, schema)
  assertFormat(db, path)
  db.setAuthorizer((action, table) => {
    const changes =
      action === constants.SQLITE_UPDATE ||
      action === constants.SQLITE_DELETE ||
      action === constants.SQLITE_DROP_TABLE ||
      action === constants.SQLITE_ALTER_TABLE
    return changes && table === 'audit' ? constants.SQLITE_DENY : constants.SQLITE_OK
  })
}

/** Random log name: lines of one log are useless in another. */
function genesis(at: number): Draft {
  const body = { log: newId('log', at) }
  return draft({ at, kind: 'genesis', run: null, tenant: null, status: null, body })
}

/** Refuses other formats, so that no version writes into a file it does not know. */
export function assertFormat(db: DatabaseSync, path: string): void {
  const format = db.prepare('SELECT format FROM meta').get()?.['format']
  if (format === 1) return
  throw new MayflyError(
    'STATE',
    `Cannot use "${path}": its format is "${String(format)}", not "1"`,
    {
      hint: 'Use the version of Mayfly that wrote it, or another state folder.',
    },
  )
}

export const lineColumns = 'seq, at, kind, run, tenant, status, body, previous, hash'
const insertSql = `INSERT INTO audit (${lineColumns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`

type Row = Record<string, SQLOutputValue>

/** Free if the holder is dead, its lease is over, or the clock went back behind it. */
function mayTake(row: Row, holder: string, now: number, isGone: (h: string) => boolean): boolean {
  const owner = String(row['holder'])
  const late = Number(row['until']) <= now || Number(row['since']) > now
  return owner === holder || late || isGone(owner)
}

/** Some errors, such as SQLITE_FULL, have already rolled back. */
function rollBack(db: DatabaseSync): void {
  if (db.isTransaction) db.exec('ROLLBACK')
}

function insertLine(insert: StatementSync, l: StoredLine): void {
  insert.run(l.seq, l.at, l.kind, l.run, l.tenant, l.status, l.bodyText, l.previous, l.hash)
}

/** Converts a row to a line; the chain judges its content. */
export function storedLine(row: Row): StoredLine {
  return {
    seq: Number(row['seq']),
    at: Number(row['at']),
    kind: String(row['kind']) as RecordLineKind,
    run: row['run'] as string | null,
    tenant: row['tenant'] as string | null,
    status: row['status'] as string | null,
    bodyText: String(row['body']),
    previous: String(row['previous']),
    hash: String(row['hash']),
  }
}

export function storedCheckpoint(row: Row): Checkpoint {
  return {
    format: 1,
    seq: Number(row['seq']),
    head: String(row['head']),
    at: Number(row['at']),
    key: String(row['key']),
    signature: String(row['signature']),
  }
}

function openLine(row: Row): OpenLine {
  return {
    seq: Number(row['seq']),
    run: row['run'] as string | null,
    tenant: row['tenant'] as string | null,
    bodyText: String(row['body']),
  }
}
