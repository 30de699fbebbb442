/** Passes over processes that still fork (a race with fork): a pass that finds a new one is followed by another. */
const PASSES_MAX = 20

/**
 * Sends a signal to each process; ignores processes that are gone, and numbers below 2, which to kill(2) are init, groups of
 * processes or all of them.
 */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    if (pid < 2) continue
    try {
      process.kill(pid, signal)
    } catch {
      // ESRCH: the process is gone.
    }
  }
}

/** Stops all processes that `find` finds, until it finds no other, and kills them, the last found first. */
export function stopAndKill(find: () => readonly number[]): void {
  const stopped = new Set<number>()
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    const fresh = find().filter((pid) => !stopped.has(pid))
    if (fresh.length === 0) break
    signalAll(fresh, 'SIGSTOP')
    for (const pid of fresh) stopped.add(pid)
  }
  signalAll([...stopped].toReversed(), 'SIGKILL')
}
