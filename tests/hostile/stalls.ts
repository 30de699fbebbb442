import { Worker } from 'node:worker_threads'

const tickMs = 10

/** Maximum lateness so far of the timer ticks of an idle thread, in microseconds. */
const clock = `
  const { workerData } = require('node:worker_threads')
  const worst = new Int32Array(workerData)
  let due = performance.now() + ${tickMs}
  setInterval(() => {
    const now = performance.now()
    worst[0] = Math.max(worst[0], Math.round((now - due) * 1000))
    due = now + ${tickMs}
  }, ${tickMs})`

/**
 * Longest stall of this machine, as a thread sees it that only waits: no fault of this process's own loop, which a product
 * under test shares.
 */
export function watchStalls(): Disposable & { takeMs(): number } {
  const shared = new SharedArrayBuffer(4)
  const worst = new Int32Array(shared)
  const worker = new Worker(clock, { eval: true, workerData: shared })
  worker.unref()
  return {
    takeMs: () => Atomics.exchange(worst, 0, 0) / 1000,
    [Symbol.dispose]: () => void worker.terminate(),
  }
}
