import { codeOfSignal } from '../lib/signal-name.ts'

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

/** Result of the work. At a stop signal undefined, with the exit code of that: the caller ends what the work uses. */
export async function unlessStopped<Result>(work: Promise<Result>): Promise<Result | undefined> {
  const ended = await Promise.race([work.then((result) => ({ result })), stopSignal()])
  if (typeof ended === 'object') return ended.result
  process.exitCode = codeOfSignal(ended)
  return undefined
}
