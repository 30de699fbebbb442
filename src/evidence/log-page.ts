import type { DatabaseSync } from 'node:sqlite'
import type { AuditPage, RecordLine } from '../contract/evidence.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import type { StoredLine } from './chain.ts'
import { lineColumns, storedLine } from './connection.ts'

/** Lines that one page reads at most, so that a rare tenant or run does not hold up the event loop. */
const scannedMax = 20_000
/** Characters of line bodies in one page; the first line is always in it. */
const bodyCharsMax = 1_000_000

export interface LogQuery {
  /** Lines of this tenant only; undefined: all, also those of no tenant. */
  readonly tenant?: string | undefined
  readonly run?: string | undefined
  /** Line numbers below this one only. */
  readonly before?: number | undefined
  readonly limit: number
}

/**
 * Reads one page of a log, newest line first. A page may hold fewer lines than `limit`, or none, and still have a
 * `next`: it ends after 20,000 lines read or a million characters of bodies.
 *
 * @param journal lines that are not in the database yet, oldest first
 */
export function pageOf(
  db: DatabaseSync,
  journal: readonly StoredLine[],
  query: LogQuery,
): AuditPage {
  const { before = Number.MAX_SAFE_INTEGER, limit } = query
  const top = Math.min(before - 1, journal.at(-1)?.seq ?? lastSeq(db))
  const bottom = Math.max(1, top - scannedMax + 1)
  const items: RecordLine[] = []
  let chars = 0
  for (const line of matching(db, journal, { ...query, bottom, top })) {
    chars += line.bodyText.length
    const isFull = items.length === limit || (items.length > 0 && chars > bodyCharsMax)
    if (isFull) return { items, next: String(items.at(-1)!.seq) }
    items.push(recordLineOf(line))
  }
  return { items, next: bottom > 1 ? String(bottom) : null }
}

/** A line for readers. A body that is no JSON object is `{unreadable}` with its text. */
export function recordLineOf(line: StoredLine): RecordLine {
  const { bodyText, ...rest } = line
  return { format: 1, ...rest, body: bodyOf(bodyText) }
}

export function bodyOf(text: string): RecordLine['body'] {
  const body = tryParseJson(text)
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body)
  return isObject ? { ...body } : { unreadable: text }
}

interface LogWindow extends LogQuery {
  readonly bottom: number
  readonly top: number
}

function* matching(
  db: DatabaseSync,
  journal: readonly StoredLine[],
  { tenant, run, bottom, top }: LogWindow,
): Generator<StoredLine> {
  const isWanted = (line: StoredLine) =>
    line.seq >= bottom &&
    line.seq <= top &&
    (tenant === undefined || line.tenant === tenant) &&
    (run === undefined || line.run === run)
  yield* journal.filter(isWanted).toReversed()
  const filters = [tenant !== undefined && 'AND tenant = ?', run !== undefined && 'AND run = ?']
  const where = `seq BETWEEN ? AND ? ${filters.filter(Boolean).join(' ')}`
  const sql = `SELECT ${lineColumns} FROM audit WHERE ${where} ORDER BY seq DESC`
  const values = [tenant, run].filter((value) => value !== undefined)
  for (const row of db.prepare(sql).iterate(bottom, top, ...values)) yield storedLine(row)
}

function lastSeq(db: DatabaseSync): number {
  return Number(db.prepare('SELECT max(seq) AS seq FROM audit').get()?.['seq'] ?? 0)
}
