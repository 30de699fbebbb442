import type { DatabaseSync } from 'node:sqlite'
import type { Checkpoint } from '../contract/evidence.ts'
import type { LogItem } from './auditor.ts'
import type { StoredLine } from './chain.ts'
import { openReadOnly } from './open-readonly.ts'
import { assertFormat, lineColumns, storedCheckpoint, storedLine } from './store.ts'

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
  counts(): { readonly lines: number; readonly checkpoints: number }
}

/** Opens a read snapshot of a log. Throws SQLite errors. */
export function openLog(path: string): LogReader {
  const db = openReadOnly(path)
  try {
    db.exec('BEGIN')
    assertFormat(db, path)
  } catch (thrown) {
    db.close()
    throw thrown
  }
  return {
    lines: () => linesOf(db),
    checkpoints: () => checkpointsOf(db),
    last: (limit, run) => lastOf(db, limit, run),
    counts: () => ({ lines: countOf(db, 'audit'), checkpoints: countOf(db, 'checkpoints') }),
    [Symbol.dispose]: () => db.close(),
  }
}

function* linesOf(db: DatabaseSync): Generator<StoredLine> {
  const rows = db.prepare(`SELECT ${lineColumns} FROM audit ORDER BY seq`).iterate()
  for (const row of rows) yield storedLine(row)
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
