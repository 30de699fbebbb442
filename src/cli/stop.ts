/** One press of Ctrl-C arrives up to three times: from the terminal, from npm and from the warden. */
const samePressMs = 500
const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** Resolves at the first signal to stop. Who then asks once more is left to the system, which ends us at once. */
export function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  const stop = (signal: NodeJS.Signals) => {
    resolve(signal)
    setTimeout(letGo, samePressMs).unref()
  }
  const letGo = () => {
    for (const signal of signals) process.off(signal, stop)
  }
  for (const signal of signals) process.on(signal, stop)
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignoreHangUp)
  return promise
}

/** A terminal that was closed answers EIO; unhandled, the next line printed would end the drain. */
function ignoreHangUp(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EIO') throw error
}
