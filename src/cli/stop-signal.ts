/** Debounce: one Ctrl-C may arrive three times, from the terminal, npm and the warden. */
const samePressMs = 500
const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** Resolves at the first stop signal. A second one has its default action and kills the process. */
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

/** EIO from a closed terminal; unhandled, the next printed line would abort the drain. */
function ignoreHangUp(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EIO') throw error
}
