import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Also clears V8's cache of compiled scripts, which holds each that ran once. */
const WHOLE = { type: 'major', execution: 'sync', flavor: 'last-resort' }

/**
 * Collects all garbage, and gives the pages of V8's heap that become empty back to the kernel. Stops this thread for some
 * 20 to 60 ms, and code that is needed again is compiled again, so only an idle process calls it.
 *
 * V8 never does this on its own: the heap of a process that loaded its modules and then waits stays as it was (Node 26).
 * No other context gets the function: its flag is set while one context is made, which ends with this call.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  try {
    const collect = runInNewContext('gc') as (options: typeof WHOLE) => void
    collect(WHOLE)
  } finally {
    setFlagsFromString('--no-expose-gc')
  }
}
