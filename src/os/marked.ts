import { readNames, readText } from './read.ts'

/**
 * Processes that carry a mark: a hard limit that their wall set and that its filter lets none of them change. It is found
 * whatever they did to their parents, groups and sessions.
 */
const HARD_LIMIT = /^Max file locks\s+\S+\s+(\d+)/m

/** Hard RLIMIT_LOCKS of a process; undefined if it is unlimited, or the process is gone. */
export function markOf(pid: number): number | undefined {
  try {
    const [, mark] = HARD_LIMIT.exec(readText(`/proc/${pid}/limits`)) ?? []
    return mark === undefined ? undefined : Number(mark)
  } catch {
    return undefined
  }
}

/** Reads the limits of every process of this machine. */
export function processesMarked(mark: number): readonly number[] {
  return readNames('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => markOf(pid) === mark)
}
