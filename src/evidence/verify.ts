import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { messageOf } from '../contract/error.ts'
import type { Audit } from '../contract/evidence.ts'
import { Auditor, type Item, type Known } from './auditor.ts'
import { parseHeader, parseRow } from './export.ts'
import { itemsOf, openLog, type Log } from './read.ts'
import { isSettled } from './reading.ts'
import { stateError } from './state-error.ts'

/**
 * Audits a log: `audit.db` itself, or a file that was exported from it. Every line is checked against the one
 * before it and every checkpoint against its line, key and signature. Never throws for what is in the file, nor
 * reads more than a line at a time; a file that is no log is wrong at line 1.
 *
 * What it cannot see: that lines after the last checkpoint were cut off, unless `signed` knows of them, and
 * that log and signer were both rolled back to the same moment.
 */
export function verifyFile(path: string, known: Known = {}): Audit {
  const settled = isSettled(path)
  const audit = verifyOnce(path, known)
  // A server that started in between moved the file under an audit that took it for settled.
  return !audit.ok && settled && !isSettled(path) ? verifyOnce(path, known) : audit
}

function verifyOnce(path: string, known: Known): Audit {
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

const IO_ERROR = 10
const SHORT_READ = 522

/** The disk did not answer: that says nothing of the lines. One that is shorter than it says was cut. */
function isUnreadable(thrown: unknown): boolean {
  const { errcode = 0, code } = thrown as { readonly errcode?: number; readonly code?: string }
  return ((errcode & 0xff) === IO_ERROR && errcode !== SHORT_READ) || code === 'EIO'
}

/** Nothing that Mayfly writes into a line comes near it, in bytes. */
const rowBytesMax = 1 << 20

function* readItems(path: string, auditor: Auditor): Generator<Item> {
  using log = openDatabase(path)
  if (log) yield* itemsOf(log)
  else yield* readExport(path, auditor)
}

/**
 * SQLite itself says whether the file is a database. To look would be to open and close it, and closing any
 * descriptor of it drops the POSIX locks by which this process may be holding the log.
 */
function openDatabase(path: string): Log | undefined {
  try {
    return openLog(path)
  } catch (thrown) {
    if ((thrown as { errcode?: number }).errcode === NOT_A_DATABASE) return undefined
    throw thrown
  }
}

const NOT_A_DATABASE = 26

/** The first row says what the others have to come to. */
function* readExport(path: string, auditor: Auditor): Generator<Item> {
  let first = true
  for (const row of readRows(path)) {
    if (first) auditor.expect(parseHeader(row))
    else yield parseRow(row)
    first = false
  }
  if (first) throw new Error('it is empty')
}

/** Rows that end in a line feed, as UTF-8 and nothing else; at most one is held at a time. */
function* readRows(path: string): Generator<string> {
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let held: Buffer = Buffer.alloc(0)
  for (const chunk of readChunks(path)) {
    held = held.length > 0 ? Buffer.concat([held, chunk]) : chunk
    for (let end = held.indexOf(10); end >= 0; end = held.indexOf(10)) {
      yield utf8.decode(held.subarray(0, end))
      held = held.subarray(end + 1)
    }
    if (held.length > rowBytesMax) throw new Error('a row is too long')
  }
  if (held.length > 0) throw new Error('the last row has no end')
}

function* readChunks(path: string): Generator<Buffer> {
  const file = openSync(path, 'r')
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(65_536)
      const bytes = readSync(file, chunk)
      if (bytes === 0) return
      yield chunk.subarray(0, bytes)
    }
  } finally {
    closeSync(file)
  }
}
