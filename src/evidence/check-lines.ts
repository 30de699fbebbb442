import { chainStart } from '../lib/hash-chain.ts'
import { whyNotNext, type StoredLine } from './chain.ts'
import type { LogReader } from './log-reader.ts'
import { whyNotSigned } from './sign.ts'

/** The first bad line, and why. */
export interface BadLine {
  readonly seq: number
  readonly why: string
}

/**
 * Checks lines that are to be shown: each from the first of them to the checkpoint that covers the last must follow the
 * one before it, and that checkpoint must be signed, with `key` if it is known. Lines after the last checkpoint are
 * chained alone. Edits before the first of them are for `verifyFile` to find.
 */
export function findBadLine(
  log: LogReader,
  shown: readonly StoredLine[],
  key?: string,
): BadLine | undefined {
  if (log.damage) return log.damage
  const [first, last] = [shown[0], shown.at(-1)]
  if (!first || !last) return undefined
  const checkpoint = log.checkpointFrom(last.seq)
  const before = log.range(first.seq - 1, first.seq - 1).next().value
  let head = { seq: first.seq - 1, head: before?.hash ?? chainStart }
  if (!before && first.seq !== 1)
    return { seq: first.seq - 1, why: `line ${first.seq - 1} is missing` }
  for (const line of log.range(first.seq, checkpoint?.seq ?? last.seq)) {
    const why = whyNotNext(head, line)
    if (why !== undefined) return { seq: head.seq + 1, why }
    head = { seq: line.seq, head: line.hash }
  }
  if (!checkpoint) return undefined
  const bad = (why: string): BadLine => ({ seq: checkpoint.seq, why })
  if (key !== undefined && checkpoint.key !== key)
    return bad('its checkpoint is signed with another key')
  const why = whyNotSigned(checkpoint)
  if (why !== undefined) return bad(`its checkpoint proves nothing: ${why}`)
  if (head.seq !== checkpoint.seq) return bad(`lines up to ${checkpoint.seq} were signed`)
  if (head.head !== checkpoint.head) return bad('it is not what was signed')
  return undefined
}
