import type { Checkpoint } from '../contract/evidence.ts'
import { chainStart } from '../lib/hash-chain.ts'
import { Auditor, type BadLine } from './auditor.ts'
import type { StoredLine } from './chain.ts'
import type { LogReader } from './log-reader.ts'

/**
 * Checks lines that are to be shown: each from the first of them to the checkpoint that covers the last must follow the
 * one before it, and that checkpoint must be signed. `signed` is the last head of the signer, if it is known: it stands for
 * a checkpoint that the log lacks. Lines after the last checkpoint are chained alone. Edits before the first of them are
 * for `verifyFile` to find.
 */
export function findBadLine(
  log: LogReader,
  shown: readonly StoredLine[],
  signed?: Checkpoint,
): BadLine | undefined {
  if (log.damage) return log.damage
  const [first, last] = [shown[0], shown.at(-1)]
  if (!first || !last) return undefined
  const own = signed && signed.seq >= last.seq ? signed : undefined
  const checkpoint = log.checkpointFrom(last.seq) ?? own
  const before = log.range(first.seq - 1, first.seq - 1).next().value
  const start = { seq: first.seq - 1, head: before?.hash ?? chainStart }
  if (!before && first.seq !== 1) return { seq: start.seq, why: `line ${start.seq} is missing` }
  const auditor = new Auditor({ key: signed?.key, signed }, start)
  for (const line of log.range(first.seq, checkpoint?.seq ?? last.seq)) {
    const bad = auditor.take({ kind: 'line', line })
    if (bad) return bad
  }
  return checkpoint && auditor.take({ kind: 'checkpoint', checkpoint })
}
