import vm2 from 'vm2'
import { serve, within } from './harness.js'

// vm2 in typical use: a fresh VM with a timeout and lent objects, otherwise defaults.
serve(async (job, { input, console, call }, { timeoutMs }) => {
  const lent = { input, console, call, setTimeout, clearTimeout, setInterval, clearInterval }
  const web = { queueMicrotask, structuredClone, TextEncoder, TextDecoder, URL, atob, btoa }
  const vm = new vm2.VM({ timeout: timeoutMs, sandbox: { ...lent, ...web } })
  const promise = vm.run(`(async function () {\n${job.code}\n}).call(this)`)
  return within(promise, timeoutMs)
})
