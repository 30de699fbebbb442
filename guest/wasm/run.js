import { getHeapStatistics } from 'node:v8'
import { callRun } from './call.js'
import { endOf, Refusal } from './ends.js'
import { memoriesOf, Modules } from './modules.js'
import { Result, Stream } from './streams.js'
import { Wasi } from './wasi.js'

const WASI = 'wasi_snapshot_preview1'

/**
 * @typedef {{ entry: string, code: string, inputText: string, memoryBytes: number, outputBytesMax: number,
 *   resultBytesMax: number, instructionsMax?: number }} Task `code` is base64; counted only with `instructionsMax`
 * @typedef {{ stdout(bytes: Uint8Array): void, stderr(bytes: Uint8Array): void, abandon(end: End): never, collect(): void }}
 *   Hooks they may block; `abandon` reports the end of a module that does not return, `collect` collects garbage
 * @typedef {{ status: string, encoding: string, resultText: string, error?: object,
 *   memory?: { used: number, peak: number }, instructions?: number, exitCode?: number }} End
 * @typedef {{
 *   memories: any[], hasHidden: boolean, fuel?: { value: bigint }, heapBefore?: number, instance?: WebAssembly.Instance,
 * }} Used memories that can be seen from here, the counter of instructions that are left, and the heap without the module
 */

/** Less of the heap is no table or object of a module, but what any run leaves there. */
const HEAP_NOISE_BYTES = 2 ** 20

const heapBytes = () => getHeapStatistics().used_heap_size
const heapAtRest = heapBytes()

/** Calls of a module after its end, by which it is known not to return: it catches what ends it. */
const IGNORED_MAX = 1000

const modules = new Modules()

/**
 * Runs one job in a fresh instance. Never throws for errors of the module, and keeps no time: the parent
 * enforces the deadline by killing the process.
 * @param {Task} task
 * @param {Hooks} hooks
 * @returns {End}
 */
export function runModule(task, hooks) {
  const streams = {
    1: new Stream(hooks.stdout, task.outputBytesMax),
    2: new Stream(hooks.stderr, task.outputBytesMax),
    3: new Result(task.resultBytesMax),
  }
  /** @type {Used} */
  const used = { memories: [], hasHidden: false }
  const flush = () => {
    streams[1].flush()
    streams[2].flush()
  }
  let ignored = 0
  const wasi = new Wasi({
    input: Buffer.from(task.inputText),
    write: (fd, bytes) => {
      streams[fd].add(bytes)
      if (streams[fd].isFlood) wasi.stop(fd === 3 ? tooLarge() : flooded())
    },
    flush,
    noMemory: () => wasi.stop(exportMissing('memory', 'memory')),
    ignored: () => {
      if (++ignored > IGNORED_MAX) hooks.abandon(report(endOf(wasi.exit), true))
    },
  })
  const report = (/** @type {object} */ ended, isRunning = false) => {
    flush()
    const { end, ...counted } = count(ended, used, task)
    const heap = () =>
      isRunning ? heapSinceRest(task, hooks.collect) : heapOf(used, hooks.collect)
    const held = usage(used, task, heap)
    return {
      encoding: 'json',
      resultText: 'null',
      ...judged(end, streams[3], task),
      ...held,
      ...counted,
    }
  }
  return report(attempt(() => start(task, wasi, used), wasi))
}

function flooded() {
  return new Refusal('OUTPUT', 'The job was ended at its OUTPUT limit', { status: 'limit' })
}

/**
 * Reports the instructions executed. A counter below 0 means that its trap ended the module; the instructions beyond the
 * limit did not run.
 * @param {any} end @param {Used} used @param {Task} task
 */
function count(end, { fuel }, { instructionsMax = 0 }) {
  if (!fuel) return { end }
  const instructions = instructionsMax - Math.max(0, Number(fuel.value))
  if (fuel.value >= 0n) return { end, instructions }
  const message = 'The module ran more instructions than its limit'
  return { end: new Refusal('INSTRUCTIONS', message, { status: 'limit' }).end, instructions }
}

/** @param {() => object} work @param {Wasi} wasi */
function attempt(work, wasi) {
  try {
    const end = work()
    // A guest may catch the exception by which it exits; it has exited all the same.
    return wasi.exit ? endOf(wasi.exit) : end
  } catch (thrown) {
    return endOf(wasi.exit ?? thrown)
  }
}

/** @param {Task} task @param {Wasi} wasi @param {Used} used */
function start(task, wasi, used) {
  const { memories } = used
  const isMetered = task.instructionsMax !== undefined
  const compiled = modules.compile(task.code, task.memoryBytes, isMetered)
  const imports = link(compiled, wasi, memories)
  used.hasHidden = memories.length < memoriesOf(compiled.declared).length
  wasi.memory = memories[0]
  used.heapBefore = heapBytes()
  used.instance = new WebAssembly.Instance(compiled.module, imports)
  const { exports } = used.instance
  for (const one of Object.values(exports)) {
    if (one instanceof WebAssembly.Memory && !memories.includes(one)) memories.push(one)
  }
  used.hasHidden = memories.length < memoriesOf(compiled.declared).length
  const own = exports['memory']
  if (own instanceof WebAssembly.Memory) wasi.memory = own
  begin(compiled, exports, used, task)
  if (task.entry === 'function') return callRun(compiled.declared, exports, task.inputText)
  if (task.entry === 'program') return program(exports)
  throw new Refusal('ENTRY_UNSUPPORTED', `Cannot run a module by entry "${task.entry}"`)
}

/**
 * Sets the counter, if there is one, then calls the start function, which the rewrite turned from a start section into an
 * export: it has the memory that its module exports, as WASI needs.
 * @param {import('./modules.js').Compiled} compiled
 * @param {WebAssembly.Exports} exports @param {Used} used @param {Task} task
 */
function begin({ fuel, start }, exports, used, { instructionsMax = 0 }) {
  if (fuel !== undefined) {
    const counter = /** @type {WebAssembly.Global} */ (exports[fuel])
    counter.value = BigInt(instructionsMax)
    used.fuel = counter
  }
  if (start !== undefined) /** @type {Function} */ (exports[start])()
}

/** @param {WebAssembly.Exports} exports */
function program(exports) {
  const main = exports['_start']
  if (typeof main !== 'function') throw exportMissing('_start')
  main()
  return { status: 'ok', exitCode: 0 }
}

/** @param {string} name */
function exportMissing(name, kind = 'function') {
  const message = `Cannot run the module: it exports no ${kind} "${name}"`
  return new Refusal('WASM_EXPORT_MISSING', message, { details: { name } })
}

/**
 * Imports: WASI's functions, and a memory if the module wants one. Nothing else.
 * @param {import('./modules.js').Compiled} compiled @param {Wasi} wasi @param {WebAssembly.Memory[]} memories
 */
function link({ declared, growthMax }, wasi, memories) {
  const functions = wasi.imports()
  /** @type {Record<string, Record<string, any>>} */
  const imports = Object.create(null)
  for (const { module, name, kind, limits } of declared.imports) {
    const given = (imports[module] ??= Object.create(null))
    if (limits) memories.push((given[name] = memoryFor(limits, growthMax)))
    else if (module === WASI && kind === 'function' && Object.hasOwn(functions, name))
      given[name] = functions[name]
    else throw importMissing(module, name, kind)
  }
  return imports
}

/** @param {import('../../src/lib/wasm-module.js').Limits} limits @param {number} growthMax in pages */
function memoryFor({ initial, maximum = Infinity, is64 }, growthMax) {
  const [from, to] = [initial, Math.min(maximum, initial + growthMax)]
  if (!is64) return new WebAssembly.Memory({ initial: from, maximum: to })
  const descriptor = { address: 'i64', initial: BigInt(from), maximum: BigInt(to) }
  return new WebAssembly.Memory(/** @type {any} */ (descriptor))
}

/** @param {string} module @param {string} name @param {string} kind */
function importMissing(module, name, kind) {
  const message = `Cannot run the module: it imports the ${kind} "${module}.${name}", and nothing here gives it`
  const details = { module: module.slice(0, 200), name: name.slice(0, 200) }
  return new Refusal('WASM_IMPORT_MISSING', message.slice(0, 1000), { details })
}

/** @param {any} end @param {Result} result @param {Task} task */
function judged(end, result, { entry, resultBytesMax }) {
  if (end.status !== 'ok') return end
  // A function that exits with 0 returned nothing.
  const resultText = (entry === 'program' ? result.text : end.resultText) || 'null'
  if (!result.isTooLarge && Buffer.byteLength(resultText) <= resultBytesMax)
    return { ...end, resultText }
  return tooLarge().end
}

function tooLarge() {
  const message = 'Cannot return the result: it takes more bytes than this job may return'
  return new Refusal('RESULT_TOO_LARGE', message)
}

/**
 * Memory of the module: its memories, and its tables and objects, which are in the heap of this process. If these may exceed the
 * limit, the heap is compared with and without the module, free of garbage. A memory that is not exported may have any size:
 * then only an excess of the rest is told.
 * @param {Used} used @param {Task} task @param {() => number} heapHeld measures the heap without garbage
 */
function usage(used, { memoryBytes }, heapHeld) {
  const linear = used.memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
  const heap = heapBytes()
  const peak = linear + withoutNoise(heap - (used.heapBefore ?? heap))
  const mayExceed = Math.max(peak, linear + withoutNoise(heap - heapAtRest)) > memoryBytes
  const held = mayExceed ? linear + withoutNoise(heapHeld()) : peak
  if (used.hasHidden && held <= memoryBytes) return {}
  return { memory: { used: held, peak: Math.max(held, peak) } }
}

/** Bytes that the instance holds in the heap. @param {Used} used @param {Hooks['collect']} collect */
function heapOf(used, collect) {
  if (used.instance === undefined) return 0
  collect()
  const before = heapBytes()
  // The counter is a global of the instance, and keeps it.
  used.instance = used.fuel = undefined
  collect()
  return before - heapBytes()
}

/**
 * Bytes in the heap since this process was at rest, without the text of the job. An instance that does not return is on the stack: it
 * cannot be dropped, and would seem to hold nothing.
 * @param {Task} task @param {Hooks['collect']} collect
 */
function heapSinceRest({ code, inputText }, collect) {
  collect()
  // A character beyond Latin-1 makes two bytes of each.
  return heapBytes() - heapAtRest - code.length - 2 * inputText.length
}

/** @param {number} bytes */
const withoutNoise = (bytes) => (bytes < HEAP_NOISE_BYTES ? 0 : bytes)
