import { existsSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { MayflyError } from '../contract/error.ts'
import type { AuditPage, Checkpoint } from '../contract/evidence.ts'
import type { LogItem } from './auditor.ts'
import type { StoredLine } from './chain.ts'
import { lineColumns, storedCheckpoint, storedLine } from './connection.ts'
import { journalOf } from './journal-file.ts'
import type { JournalDamage } from './journal-reader.ts'
import { readJournal, type JournalContent } from './journal.ts'
import { assertKnownSchema } from './known-schema.ts'
import { pageOf, type LogQuery } from './log-page.ts'
import { openReadOnly } from './open-readonly.ts'
import { stateError } from './state-error.ts'
import { knownFormat, schema } from './store.ts'

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
  /** Page of matching lines, newest first. */
  page(query: LogQuery): AuditPage
  /** Lines from one number to another, both included. */
  range(from: number, to: number): Generator<StoredLine>
  /** First checkpoint of this line or a later one. */
  checkpointFrom(seq: number): Checkpoint | undefined
  /** First part of the journal that cannot be read; lines end before it. */
  readonly damage: JournalDamage | undefined
  counts(): { readonly lines: number; readonly checkpoints: number }
}

/**
 * Opens a read snapshot of a log, of database and journal as one. The journal is read first: its lines leave it only
 * after they are in the database. Throws SQLite errors, Error if the journal is a link, and MayflyError STATE for a
 * file with other tables or views.
 */
export function openLog(path: string): LogReader {
  const journal = readJournal(journalOf(path))
  const db = openReadOnly(path)
  try {
    db.exec('BEGIN')
    assertKnownSchema(db, path, schema)
    knownFormat(db, path)
    const rest = restOf(db, journal)
    return readerOf(db, rest, rest.damage ?? journal?.damage)
  } catch (thrown) {
    db.close()
    throw thrown
  }
}

/** Reads a page of the log at `path`; a log that was never written is empty. Throws MayflyError STATE. */
export function readLogPage(path: string, query: LogQuery): AuditPage {
  if (!existsSync(path)) return { items: [], next: null }
  try {
    using log = openLog(path)
    return log.page(query)
  } catch (thrown) {
    throw stateError('read', path, thrown)
  }
}

function readerOf(
  db: DatabaseSync,
  { lines }: JournalRest,
  damage: JournalDamage | undefined,
): LogReader {
  return {
    *lines() {
      yield* linesOf(db)
      yield* lines
      if (damage) throw new MayflyError('STATE', `Cannot read line "${damage.seq}": ${damage.why}`)
    },
    checkpoints: () => checkpointsOf(db),
    last: (limit, run) => lastOf(db, lines, { limit, run }),
    page: (query) => pageOf(db, lines, query),
    *range(from, to) {
      yield* linesOf(db, from, to)
      yield* lines.filter(({ seq }) => seq >= from && seq <= to)
    },
    checkpointFrom: (seq) => checkpointFrom(db, seq),
    counts: () => ({
      lines: countOf(db, 'audit') + lines.length,
      checkpoints: countOf(db, 'checkpoints'),
    }),
    damage,
    [Symbol.dispose]: () => db.close(),
  }
}

interface JournalRest {
  /** Journal lines that are not in the database yet. */
  readonly lines: readonly StoredLine[]
  readonly damage?: JournalDamage
}

/** Damage of a journal that differs from its database, or starts after its end. */
function restOf(db: DatabaseSync, journal: JournalContent | undefined): JournalRest {
  if (!journal?.start) return { lines: [] }
  const stored = Number(db.prepare('SELECT max(seq) AS seq FROM audit').get()?.['seq'] ?? 0)
  const all = journal.entries.map(({ line }) => line)
  const both = all.findLast(({ seq }) => seq <= stored)
  const [seq, hash] = both ? [both.seq, both.hash] : [journal.start.seq, journal.start.head]
  const row = db.prepare('SELECT hash FROM audit WHERE seq = ?').get(seq)
  const lines = all.filter((line) => line.seq > stored)
  if (row?.['hash'] === hash) return { lines }
  const why = row
    ? `line ${seq} of the journal differs from that of the database`
    : `lines ${stored + 1} to ${seq} are missing`
  return { lines, damage: { seq: Math.min(seq, stored + 1), why } }
}

/** Lines of a range; by default all, also those whose number no JavaScript number can hold, which throw. */
function* linesOf(
  db: DatabaseSync,
  ...range: readonly [] | readonly [from: number, to: number]
): Generator<StoredLine> {
  const where = range.length > 0 ? 'WHERE seq BETWEEN ? AND ?' : ''
  const sql = `SELECT ${lineColumns} FROM audit ${where} ORDER BY seq`
  for (const row of db.prepare(sql).iterate(...range)) yield storedLine(row)
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

function lastOf(
  db: DatabaseSync,
  rest: readonly StoredLine[],
  { limit, run }: { readonly limit: number; readonly run: string | undefined },
): readonly StoredLine[] {
  const newer = rest.filter((line) => run === undefined || line.run === run).slice(-limit)
  const left = limit - newer.length
  const where = run === undefined ? '' : 'WHERE run = ?'
  const sql = `SELECT ${lineColumns} FROM audit ${where} ORDER BY seq DESC LIMIT ?`
  const rows = run === undefined ? db.prepare(sql).all(left) : db.prepare(sql).all(run, left)
  return [...rows.map(storedLine).toReversed(), ...newer]
}

function countOf(db: DatabaseSync, table: 'audit' | 'checkpoints'): number {
  return Number(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.['n'])
}
