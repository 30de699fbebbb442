import { existsSync } from 'node:fs'
import { messageOf } from '../contract/error.ts'
import type { Audit } from '../contract/evidence.ts'
import { openDescriptor, piecesOf } from '../lib/file-descriptor.ts'
import { Auditor, type LogItem, type TrustAnchor } from './auditor.ts'
import { parseHeader, parseRow } from './export.ts'
import { itemsOf, openLog, type LogReader } from './log-reader.ts'
import { isSettled } from './open-readonly.ts'
import { stateError } from './state-error.ts'

/**
 * Audits a log: `audit.db` itself or an exported file. Verifies each line against its predecessor and each
 * checkpoint against its line, key and signature. Never throws for file content, and reads one line at a time; a
 * file that is no log fails at line 1.
 *
 * Not detected: lines cut off after the last checkpoint, unless `signed` covers them; log and signer rolled back
 * together.
 */
export function verifyFile(path: string, known: TrustAnchor = {}): Audit {
  const settled = isSettled(path)
  const audit = verifyOnce(path, known)
  // Race: a server started and changed a file that was opened as immutable.
  return !audit.ok && settled && !isSettled(path) ? verifyOnce(path, known) : audit
}

function verifyOnce(path: string, known: TrustAnchor): Audit {
  const auditor = new Auditor(known)
  try {
    if (!existsSync(path)) auditor.fail(1, `there is no file "${path}"`)
    else auditor.takeAll(readItems(path, auditor))
  } catch (thrown) {
    if (isUnreadable(thrown)) throw stateError('read', path, thrown)
    auditor.fail(auditor.head.seq + 1, `the file cannot be read from here on: ${messageOf(thrown)}`)
  }
  return auditor.result()
}

/** SQLITE_IOERR and SQLITE_CANTOPEN. */
const unreadable: ReadonlySet<number | string> = new Set([10, 14, 'EIO', 'EACCES', 'EPERM'])
const SHORT_READ = 522

/** Errors of the disk and of rights say nothing about the lines; a short read means the file was truncated. */
function isUnreadable(thrown: unknown): boolean {
  const { errcode = 0, code = '' } = thrown as {
    readonly errcode?: number
    readonly code?: string
  }
  return (unreadable.has(errcode & 0xff) && errcode !== SHORT_READ) || unreadable.has(code)
}

/** Maximum row length in bytes. Lines with 4,096 network attempts, which Mayfly wrote before it listed fewer, had up to 2.5 MB. */
const rowBytesMax = 8 * 2 ** 20

function* readItems(path: string, auditor: Auditor): Generator<LogItem> {
  using log = openDatabase(path)
  if (log) yield* itemsOf(log)
  else yield* readExport(path, auditor)
}

/**
 * Lets SQLite detect whether the file is a database. Opening and closing another fd here would drop the POSIX locks
 * by which this process may hold the log.
 */
function openDatabase(path: string): LogReader | undefined {
  try {
    return openLog(path)
  } catch (thrown) {
    if ((thrown as { errcode?: number }).errcode === NOT_A_DATABASE) return undefined
    throw thrown
  }
}

const NOT_A_DATABASE = 26

/** Compares the rows with the totals of the header. */
function* readExport(path: string, auditor: Auditor): Generator<LogItem> {
  let first = true
  for (const row of readRows(path)) {
    if (first) auditor.expect(parseHeader(row))
    else yield parseRow(row)
    first = false
  }
  if (first) throw new Error('it is empty')
}

/** Rows ending in LF, as strict UTF-8; buffers one at a time. */
function* readRows(path: string): Generator<string> {
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let held: Buffer = Buffer.alloc(0)
  using file = openDescriptor(path, 'r')
  for (const chunk of piecesOf(file)) {
    held = held.length > 0 ? Buffer.concat([held, chunk]) : chunk
    for (let end = held.indexOf(10); end >= 0; end = held.indexOf(10)) {
      yield utf8.decode(held.subarray(0, end))
      held = held.subarray(end + 1)
    }
    if (held.length > rowBytesMax) throw new Error('a row is too long')
  }
  if (held.length > 0) throw new Error('the last row has no line feed')
}
