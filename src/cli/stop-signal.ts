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
  return promise
}
