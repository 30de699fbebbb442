import * as z from 'zod'
import { checkpointSchema, lineSchema } from '../contract/evidence.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { chainStart } from '../lib/hash-chain.ts'
import type { ExportHeader, LogItem } from './auditor.ts'
import { lineText, type StoredLine } from './chain.ts'
import { itemsOf, openLog, type LogReader } from './log-reader.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Exports a log as JSON lines: a header with the public key and totals, then lines and checkpoints in order. All
 * canonical JSON, so any changed byte is detected. Reads one snapshot of the log while others append.
 */
export function* exportRows(path: string): Generator<string> {
  using log = openLog(path)
  yield `${canonicalJson(headerOf(log))}\n`
  for (const item of itemsOf(log)) yield `${rowOf(item)}\n`
}

const headerSchema = z
  .strictObject({
    format: z.literal(1),
    kind: z.literal('mayfly-audit'),
    lines: z.number().int().min(0),
    checkpoints: z.number().int().min(0),
    head: z.string(),
    key: z.string().nullable(),
  })
  .readonly()

/** Parses the header row of an export; throws otherwise. */
export function parseHeader(row: string): ExportHeader {
  const header = headerSchema.safeParse(parseCanonical(row))
  if (header.success) return header.data
  throw new Error('its first row is no header of an exported log')
}

/** Parses any other row; throws unless it is a line or a checkpoint. */
export function parseRow(row: string): LogItem {
  const value = parseCanonical(row)
  const line = strictLine.safeParse(value)
  if (line.success) {
    // Takes the unparsed body: a schema drops names such as "__proto__", and the rest would verify.
    const { body } = value as { readonly body: unknown }
    const { body: _read, ...rest } = line.data
    return { kind: 'line', line: { ...rest, bodyText: canonicalJson(body) } }
  }
  const checkpoint = strictCheckpoint.safeParse(value)
  if (checkpoint.success) return { kind: 'checkpoint', checkpoint: checkpoint.data }
  throw new Error('a row is neither a line nor a checkpoint')
}

const strictLine = lineSchema.unwrap().strict()
const strictCheckpoint = checkpointSchema.unwrap().strict()

function headerOf(log: LogReader): z.infer<typeof headerSchema> {
  const [last] = log.last(1)
  const { lines, checkpoints } = log.counts()
  const key = log.checkpoints().next().value?.key ?? null
  const head = last?.hash ?? chainStart
  return { format: 1, kind: 'mayfly-audit', lines, checkpoints, head, key }
}

function rowOf(item: LogItem): string {
  return item.kind === 'line' ? lineText(readable(item.line)) : canonicalJson(item.checkpoint)
}

/** Keeps a damaged body on one row, which then fails verification. */
function readable(line: StoredLine): StoredLine {
  try {
    if (canonicalJson(parseJson(line.bodyText)) === line.bodyText) return line
  } catch {
    // Not JSON: falls through.
  }
  return { ...line, bodyText: JSON.stringify(line.bodyText) }
}

/** Rejects non-canonical JSON: spaces, order, escapes, duplicate names. */
function parseCanonical(row: string): unknown {
  const value: unknown = parseJson(row)
  if (canonicalJson(value) !== row) throw new Error('a row is not canonical JSON')
  return value
}
