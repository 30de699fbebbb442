import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'
import ivm from 'isolated-vm'
import { timed } from '../src/lib/measure.ts'
import { type Contender } from './side-by-side.ts'

/** Alternatives for running a small function, used as their users do, each fresh. */

export const code = 'return input.a + 1'
export const input = { a: 1 }
export const answer = 2

const timeout = 5000
const { VM } = createRequire(import.meta.url)('vm2') as {
  VM: new (options: { timeout: number; sandbox: object }) => { run(code: string): unknown }
}

const bodies: Readonly<Record<string, () => unknown>> = {
  'bare isolated-vm, in process': bareIsolate,
  'vm2, in process': bareVm2,
  'node:vm, in process': bareVm,
  'worker thread': workerThread,
}

/**
 * Each is timed in its own process, so that heaps and threads left behind affect no other. The clock runs there, so
 * no message is timed.
 */
export function openOthers(): { readonly contenders: readonly Contender[] } & Disposable {
  const child = fork(fileURLToPath(import.meta.url), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  const ask = async (name: string) => {
    child.send(name)
    const [took] = (await once(child, 'message')) as [number]
    return took
  }
  const contenders = Object.keys(bodies).map((name) => ({ name, once: () => ask(name) }))
  return { contenders, [Symbol.dispose]: () => child.kill() }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.on('message', (name: string) => {
    void timed(bodies[name]!).then((took) => process.send!(took))
  })
}

async function bareIsolate(): Promise<void> {
  const isolate = new ivm.Isolate({ memoryLimit: 128 })
  const context = await isolate.createContext()
  const script = await isolate.compileScript(
    `(function (input) { ${code} })(${JSON.stringify(input)})`,
  )
  check(await script.run(context, { timeout, copy: true }))
  isolate.dispose()
}

function bareVm2(): void {
  check(new VM({ timeout, sandbox: { input } }).run(`(function (input) { ${code} })(input)`))
}

function bareVm(): void {
  check(vm.runInNewContext(`(function (input) { ${code} })(input)`, { input }, { timeout }))
}

async function workerThread(): Promise<void> {
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     parentPort.postMessage((function (input) { ${code} })(workerData))`,
    { eval: true, workerData: input, resourceLimits: { maxOldGenerationSizeMb: 128 } },
  )
  const [result] = (await once(worker, 'message')) as [unknown]
  await worker.terminate()
  check(result)
}

/** Program of this machine, from start to exit. */
export async function program(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}: ${complaint}`)
}

function check(result: unknown): void {
  if (result !== answer) throw new Error(`the answer is ${String(result)}`)
}
