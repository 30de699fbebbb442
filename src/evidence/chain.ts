import type { RecordLine, RecordLineKind } from '../contract/evidence.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { chainStep } from '../lib/hash-chain.ts'
import { sha256 } from '../lib/hash.ts'

/** Position of a chain: number and hash of its last line; 0 and `chainStart` before the first. */
export interface ChainHead {
  readonly seq: number
  readonly head: string
}

/** Line before it is chained, serialised once: everything except its number is final. */
export interface Draft {
  readonly at: number
  readonly kind: RecordLineKind
  readonly run: string | null
  readonly tenant: string | null
  readonly status: string | null
  readonly bodyText: string
}

/** Stored line: the body is the exact text that was hashed. */
export interface StoredLine extends Draft {
  readonly seq: number
  readonly previous: string
  readonly hash: string
}

export type AppendedLine = StoredLine & { readonly digest: string }

export type DraftParts = Pick<RecordLine, 'at' | 'kind' | 'run' | 'tenant' | 'status' | 'body'>

/** Serialises a line. Names become well-formed Unicode, so that the text read back equals the text hashed. */
export function draft(parts: DraftParts): Draft {
  return {
    at: parts.at,
    kind: parts.kind,
    run: parts.run?.toWellFormed() ?? null,
    tenant: parts.tenant?.toWellFormed() ?? null,
    status: parts.status?.toWellFormed() ?? null,
    bodyText: canonicalJson(parts.body),
  }
}

/** SHA-256 of the canonical JSON of a line without `previous` and `hash`. */
export function digestOf(line: Draft, seq: number): string {
  return sha256(
    `{${membersBefore(line)},"kind":${JSON.stringify(line.kind)},${membersAfter(line, seq)}}`,
  )
}

/** Chains the next line after `head`. */
export function extend(head: ChainHead, line: Draft): AppendedLine {
  const seq = head.seq + 1
  const digest = digestOf(line, seq)
  return { ...line, seq, previous: head.head, hash: chainStep(head.head, digest), digest }
}

/** Reason why `line` cannot follow `head`; undefined if it does. */
export function whyNotNext(head: ChainHead, line: StoredLine): string | undefined {
  if (line.seq !== head.seq + 1)
    return line.seq > head.seq + 1
      ? `line ${head.seq + 1} is missing`
      : `line ${line.seq} is out of order`
  if (line.previous !== head.head) return 'it does not follow the line before it'
  if ((line.kind === 'genesis') !== (line.seq === 1)) return 'a log has one genesis line, its first'
  if (line.hash !== chainStep(head.head, digestOf(line, line.seq)))
    return 'its content is not what was hashed'
  return undefined
}

/** Line as canonical JSON, as in an export. */
export function lineText(line: StoredLine): string {
  const own = `"hash":${JSON.stringify(line.hash)},"kind":${JSON.stringify(line.kind)}`
  const previous = `"previous":${JSON.stringify(line.previous)}`
  return `{${membersBefore(line)},${own},${previous},${membersAfter(line, line.seq)}}`
}

function membersBefore(line: Draft): string {
  return `"at":${line.at},"body":${line.bodyText},"format":1`
}

function membersAfter(line: Draft, seq: number): string {
  const [run, status, tenant] = [line.run, line.status, line.tenant].map((name) =>
    JSON.stringify(name),
  )
  return `"run":${run},"seq":${seq},"status":${status},"tenant":${tenant}`
}
