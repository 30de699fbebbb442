/** One press of Ctrl-C comes up to three times: from the terminal, from npm and from the warden. */
const samePressMs = 1_000
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
  return promise
}
