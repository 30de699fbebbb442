import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Also clears V8's cache of compiled scripts, which keeps every script that ran once. */
const WHOLE = { type: 'major', execution: 'sync', flavor: 'last-resort' }

/**
 * Collects all garbage, and returns empty pages of V8's heap to the kernel. Blocks this thread for 20 to 60 ms, and
 * flushed code must be compiled again, so only an idle process calls it.
 *
 * V8 never does this by itself: the heap of a process that loads its modules and then waits keeps its size (Node 26).
 * No other context gets the `gc` function: its flag is set only while the context is created that it is of, once in the life of
 * the process, because a change of flags beside other threads may crash (documentation of `v8.setFlagsFromString`).
 */
export function collectGarbage(): void {
  collect ??= exposedCollect()
  collect(WHOLE)
}

type Collect = (options: typeof WHOLE) => void
let collect: Collect | undefined

function exposedCollect(): Collect {
  setFlagsFromString('--expose-gc')
  try {
    return runInNewContext('gc') as Collect
  } finally {
    setFlagsFromString('--no-expose-gc')
  }
}
