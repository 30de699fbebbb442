import { stat } from 'node:fs'

/**
 * Wakes the threads that read and write files for Node.
 *
 * Problem: `pthread_cond_signal` of glibc may wake nobody (its bug 25847; seen with 2.36). A request of libuv then lies in the queue
 * while all threads of the pool sleep, until the next request: a process that waits for this one alone waits for ever. Seen
 * where a hundred thousand files were removed, 256 at a time.
 *
 * Mechanism: a timer makes another request now and then; a thread that it wakes takes all that the queue has.
 *
 * Not handled: the pools of programs in walls, and of an application that has Mayfly as a library.
 */
const EVERY_MS = 2000

/** Called once for a process of Mayfly. Does not keep it running. */
export function keepPoolAwake(everyMs: number = EVERY_MS): void {
  setInterval(() => stat('/', () => undefined), everyMs).unref()
}
