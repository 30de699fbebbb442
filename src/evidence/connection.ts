import { constants, DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite'
import type { Checkpoint, RecordLineKind } from '../contract/evidence.ts'
import type { StoredLine } from './chain.ts'
import { doze } from '../lib/doze.ts'
import { distrustSchema } from './known-schema.ts'

const busyMs = 5000
const retryMs = 5
/** WAL limit in pages of 4 KiB, in case nothing writes it back. */
const walPagesMax = 20_000

/**
 * Opens `audit.db` for writing. An authorizer makes the connection append-only for Mayfly itself. A trigger in the file
 * would add nothing: any writer of the file could drop it. Foreign changes are detected by the chain.
 */
export function openAuditDatabase(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: busyMs })
  try {
    distrustSchema(db)
    enterWal(db)
    db.exec(`PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = ${walPagesMax}`)
    db.exec('PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 67108864')
    return db
  } catch (thrown) {
    db.close()
    throw thrown
  }
}

/** Retries: SQLite returns SQLITE_BUSY at once if several processes create a record concurrently. */
function enterWal(db: DatabaseSync): void {
  const until = performance.now() + busyMs
  for (;;) {
    try {
      db.exec('PRAGMA journal_mode = WAL')
      return
    } catch (thrown) {
      if (!isLocked(thrown) || performance.now() > until) throw thrown
      pause(retryMs)
    }
  }
}

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6

export function isLocked(thrown: unknown): boolean {
  const { errcode = 0 } = thrown as { readonly errcode?: number }
  return [SQLITE_BUSY, SQLITE_LOCKED].includes(errcode & 0xff)
}

/** Blocks for a random time between `ms` and twice that, so that two processes do not collide again. */
export function pause(ms: number): void {
  doze(ms * (1 + Math.random()))
}

/** Denies statements of this connection that change or drop lines of the record (SQLite's authorizer), from now on. */
export function keepLines(db: DatabaseSync): void {
  db.setAuthorizer((action, table) => {
    const changes =
      action === constants.SQLITE_UPDATE ||
      action === constants.SQLITE_DELETE ||
      action === constants.SQLITE_DROP_TABLE ||
      action === constants.SQLITE_ALTER_TABLE
    return changes && table === 'audit' ? constants.SQLITE_DENY : constants.SQLITE_OK
  })
}

export const lineColumns = 'seq, at, kind, run, tenant, status, body, previous, hash'
export const insertSql = `INSERT INTO audit (${lineColumns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
export const headSql = 'SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1'
export const lineSql = `SELECT ${lineColumns} FROM audit WHERE seq = ?`

export type Row = Record<string, SQLOutputValue>

export function insertLine(insert: StatementSync, l: StoredLine): void {
  insert.run(l.seq, l.at, l.kind, l.run, l.tenant, l.status, l.bodyText, l.previous, l.hash)
}

/** Converts a row to a line; its content is verified by the chain. */
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
