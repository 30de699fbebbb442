import { allPids } from './proc.ts'
import { tryReadText } from './read.ts'

/**
 * Processes with a mark: a hard limit that their wall has set, and that its filter does not allow them to change. The
 * mark is independent of parents, process groups and sessions.
 */
const HARD_LIMIT = /^Max file locks\s+\S+\s+(\d+)/m

/** Hard RLIMIT_LOCKS of a process; undefined if it is unlimited, or the process is gone. */
export function markOf(pid: number): number | undefined {
  const [, mark] = HARD_LIMIT.exec(tryReadText(`/proc/${pid}/limits`) ?? '') ?? []
  return mark === undefined ? undefined : Number(mark)
}

/** Reads the limits of every process of this machine. */
export function processesMarked(mark: number): readonly number[] {
  return allPids().filter((pid) => markOf(pid) === mark)
}
