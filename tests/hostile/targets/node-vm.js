import vm from 'node:vm'
import { serve, within } from './harness.js'

// node:vm in typical use: a fresh context, lent objects, a timeout.
serve(async (job, { input, console, call }, { timeoutMs }) => {
  const lent = { input, console, call, setTimeout, clearTimeout, setInterval, clearInterval }
  const web = { queueMicrotask, structuredClone, TextEncoder, TextDecoder, URL, atob, btoa }
  const context = vm.createContext({ ...lent, ...web })
  const source = `(async function () {\n${job.code}\n}).call(this)`
  const promise = vm.runInContext(source, context, { timeout: timeoutMs })
  return within(promise, timeoutMs)
})
