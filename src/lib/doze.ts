const waiting = new Int32Array(new SharedArrayBuffer(4))

/** Blocks this thread and its event loop. */
export function doze(ms: number): void {
  Atomics.wait(waiting, 0, 0, ms)
}
