import * as z from 'zod'
import { checkpointSchema, lineSchema } from '../contract/evidence.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { chainStart } from '../lib/hash-chain.ts'
import type { Expected, Item } from './auditor.ts'
import { lineText, type StoredLine } from './chain.ts'
import { itemsOf, openLog, type Log } from './read.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * A log as JSON lines, each ending in a line feed: first a header with the public key and what follows, then lines
 * and checkpoints in order. All of it is canonical JSON, so that no byte of the file can change unseen. One moment
 * of the log, also while others append.
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

/** Reads the first row of an export; throws when it is none. */
export function parseHeader(row: string): Expected {
  const header = headerSchema.safeParse(parseCanonical(row))
  if (header.success) return header.data
  throw new Error('its first row is no header of an exported log')
}

/** Reads any other row; throws when it is neither a line nor a checkpoint. */
export function parseRow(row: string): Item {
  const value = parseCanonical(row)
  const line = strictLine.safeParse(value)
  if (line.success) {
    // The body as it stands: a schema leaves out a name such as "__proto__", and what is left would verify.
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

function headerOf(log: Log): z.infer<typeof headerSchema> {
  const [last] = log.last(1)
  const { lines, checkpoints } = log.counts()
  const key = log.checkpoints().next().value?.key ?? null
  const head = last?.hash ?? chainStart
  return { format: 1, kind: 'mayfly-audit', lines, checkpoints, head, key }
}

function rowOf(item: Item): string {
  return item.kind === 'line' ? lineText(readable(item.line)) : canonicalJson(item.checkpoint)
}

/** A body that was damaged stays one row, and still no line. */
function readable(line: StoredLine): StoredLine {
  try {
    if (canonicalJson(parseJson(line.bodyText)) === line.bodyText) return line
  } catch {
    // Falls through: it is not JSON.
  }
  return { ...line, bodyText: JSON.stringify(line.bodyText) }
}

/** Refuses any other way to write the same value: spaces, order, escapes, names given twice. */
function parseCanonical(row: string): unknown {
  const value: unknown = parseJson(row)
  if (canonicalJson(value) !== row) throw new Error('a row is not canonical JSON')
  return value
}
