import type { DatabaseSync } from 'node:sqlite'
import type { Checkpoint } from '../contract/evidence.ts'
import type { LogItem } from './auditor.ts'
import type { StoredLine } from './chain.ts'
import { assertKnownSchema } from './known-schema.ts'
import { openReadOnly } from './open-readonly.ts'
import { assertFormat, lineColumns, schema, storedCheckpoint, storedLine } from './store.ts'

/** Lines of a log with their checkpoints, each after the line it signs. */
export function* itemsOf(log: LogReader): Generator<LogItem> {
  const checkpoints = log.checkpoints()
  let next = checkpoints.next()
  let seq = 0
  for (const line of log.lines()) {
    seq = line.seq
    yield { kind: 'line', line }
    while (!next.done && next.value.seq <= seq) {
      yield { kind: 'checkpoint', checkpoint: next.value }
      next = checkpoints.next()
    }
  }
  for (; !next.done; next = checkpoints.next()) yield { kind: 'checkpoint', checkpoint: next.value }
}

export interface LogReader extends Disposable {
  lines(): Generator<StoredLine>
  checkpoints(): Generator<Checkpoint>
  /** Last matching lines, oldest first. */
  last(limit: number, run?: string): readonly StoredLine[]
  /** Lines from one number to another, both included. */
  range(from: number, to: number): Generator<StoredLine>
  /** First checkpoint of this line or a later one. */
  checkpointFrom(seq: number): Checkpoint | undefined
  counts(): { readonly lines: number; readonly checkpoints: number }
}

/** Opens a read snapshot of a log. Throws SQLite errors, and MayflyError STATE for a file with other tables or views. */
export function openLog(path: string): LogReader {
  const db = openReadOnly(path)
  try {
    db.exec('BEGIN')
    assertKnownSchema(db, path, schema)
    assertFormat(db, path)
  } catch (thrown) {
    db.close()
    throw thrown
  }
  return {
    lines: () => linesOf(db),
    checkpoints: () => checkpointsOf(db),
    last: (limit, run) => lastOf(db, limit, run),
    range: (from, to) => linesOf(db, from, to),
    checkpointFrom: (seq) => checkpointFrom(db, seq),
    counts: () => ({ lines: countOf(db, 'audit'), checkpoints: countOf(db, 'checkpoints') }),
    [Symbol.dispose]: () => db.close(),
  }
}

function* linesOf(
  db: DatabaseSync,
  from = Number.MIN_SAFE_INTEGER,
  to = Number.MAX_SAFE_INTEGER,
): Generator<StoredLine> {
  const sql = `SELECT ${lineColumns} FROM audit WHERE seq BETWEEN ? AND ? ORDER BY seq`
  for (const row of db.prepare(sql).iterate(from, to)) yield storedLine(row)
}

function checkpointFrom(db: DatabaseSync, seq: number): Checkpoint | undefined {
  const sql = 'SELECT * FROM checkpoints WHERE seq >= ? ORDER BY seq LIMIT 1'
  const row = db.prepare(sql).get(seq)
  return row && storedCheckpoint(row)
}

function* checkpointsOf(db: DatabaseSync): Generator<Checkpoint> {
  const rows = db.prepare('SELECT * FROM checkpoints ORDER BY seq').iterate()
  for (const row of rows) yield storedCheckpoint(row)
}

function lastOf(db: DatabaseSync, limit: number, run?: string): readonly StoredLine[] {
  const where = run === undefined ? '' : 'WHERE run = ?'
  const sql = `SELECT ${lineColumns} FROM audit ${where} ORDER BY seq DESC LIMIT ?`
  const rows = run === undefined ? db.prepare(sql).all(limit) : db.prepare(sql).all(run, limit)
  return rows.map(storedLine).toReversed()
}

function countOf(db: DatabaseSync, table: 'audit' | 'checkpoints'): number {
  return Number(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.['n'])
}
