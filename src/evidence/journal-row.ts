import { crc32 } from 'node:zlib'
import type { RecordLineKind } from '../contract/evidence.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { parseJson } from '../lib/parse-json.ts'
import { whyNotNext, type ChainHead, type StoredLine } from './chain.ts'

/** Line in the journal, with its other changes of the database. */
export interface JournalEntry {
  readonly line: StoredLine
  /** Salts of an admitted line, which is open until an entry ends it. */
  readonly salts: Uint8Array | undefined
  /** Number of the admitted line that this line ends. */
  readonly ends: number | undefined
}

/** First row of a journal: the line before its first entry, and the boot id of its creation. */
export interface JournalStart extends ChainHead {
  readonly boot: string
}

/**
 * Rows are `CRC32 content LF`; JSON contains no raw tab or line feed, so both can be separators. The checksum detects torn and
 * damaged rows, including salts; deliberate edits are detected by the chain.
 */
export function rowOfStart({ boot, head, seq }: JournalStart): string {
  return rowOf(canonicalJson({ boot, format: 1, head, seq }))
}

/** Omits `previous`, which is in the row before. */
export function rowOfEntry({ line, salts, ends }: JournalEntry): string {
  const { seq, at, kind, run, tenant, status, hash } = line
  const secret = salts ? Buffer.from(salts).toString('base64') : null
  const fields = [seq, at, kind, run, tenant, status, hash, secret, ends ?? null]
  return rowOf(`${JSON.stringify(fields)}\t${line.bodyText}`)
}

/** Content of a row without its line feed; undefined if its checksum does not match. */
export function rowContentOf(row: Buffer): string | undefined {
  const content = row.subarray(sumChars + 1)
  const sum = row.toString('latin1', 0, sumChars + 1)
  return sum === `${sumOf(content)} ` ? content.toString() : undefined
}

export function parseStart(content: string): JournalStart | undefined {
  const start = parseJson(content) as Partial<JournalStart> & { readonly format?: unknown }
  return start.format === 1 ? (start as JournalStart) : undefined
}

/** Parses the entry that follows `head`, or returns the reason why it does not. */
export function parseEntry(content: string, head: ChainHead): JournalEntry | string {
  const tab = content.indexOf('\t')
  const fields = parseJson(content.slice(0, tab)) as EntryFields
  const [seq, at, kind, run, tenant, status, hash, secret, ends] = fields
  const bodyText = content.slice(tab + 1)
  const line = { at, kind, run, tenant, status, bodyText, seq, previous: head.head, hash }
  const why = whyNotNext(head, line)
  if (why !== undefined) return why
  const salts = secret === null ? undefined : new Uint8Array(Buffer.from(secret, 'base64'))
  return { line, salts, ends: ends ?? undefined }
}

type EntryFields = readonly [
  seq: number,
  at: number,
  kind: RecordLineKind,
  run: string | null,
  tenant: string | null,
  status: string | null,
  hash: string,
  salts: string | null,
  ends: number | null,
]

const sumChars = 8

function rowOf(content: string): string {
  return `${sumOf(content)} ${content}\n`
}

function sumOf(content: string | Buffer): string {
  return crc32(content).toString(16).padStart(sumChars, '0')
}
