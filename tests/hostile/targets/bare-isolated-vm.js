import ivm from 'isolated-vm'
import { serve, within } from './harness.js'

/** A single isolate for the process and a fresh context a job, a common optimisation of start-up time. */
let isolate

// isolated-vm in typical use: in the server's own process, with its memory limit and its timeout.
serve(async (job, { input, call, print }, { timeoutMs, memoryMiB }) => {
  if (!isolate || isolate.isDisposed) isolate = new ivm.Isolate({ memoryLimit: memoryMiB })
  const context = await isolate.createContext()
  const jail = context.global
  await jail.set('input', new ivm.ExternalCopy(input).copyInto())
  await jail.set('print', new ivm.Callback((...args) => print(args.map(String).join(' '))))
  await context.evalClosure(
    `const called = $0
     globalThis.call = async (name, args) => {
       const { error } = await called.apply(undefined, [String(name)], { result: { promise: true, copy: true } })
       throw new Error(error)
     }
     globalThis.console = {}
     for (const k of ['log', 'info', 'warn', 'error', 'debug'])
       console[k] = (...a) => print(...a.map((x) => typeof x === 'object' ? JSON.stringify(x) : String(x)))`,
    // A host rejection that crosses by itself would be unhandled: pass it as a value.
    [new ivm.Reference((name) => call(name).catch((error) => ({ error: error.message })))],
  )
  const source = `(async function () {\n${job.code}\n}).call(this)`
  const promise = context.eval(source, { timeout: timeoutMs, promise: true, copy: true })
  return within(promise, timeoutMs + 50).finally(() => context.release())
})
