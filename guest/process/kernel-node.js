/**
 * Kernel of a session of language `node`: evaluates one cell after another; its event loop runs between them. Cells share
 * this process, so the manager (session.js) trusts nothing that it sends, and restarts it when it exits. Interrupts arrive on
 * a separate socket in a separate thread (kernel-interrupter.js), which terminates synchronous code of the main thread, or
 * makes it abandon a pending evaluation. The promise of an abandoned evaluation may still continue later.
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'
import path from 'node:path'
import { inspect } from 'node:util'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'
import { readFrames } from '../frames.js'
import { parseJson } from '../parse-json.js'
import { errorOfCell, printed, syntaxError } from './cell-error.js'
import { evaluate, forgetMessages, scriptOf } from './cell-evaluate.js'
import { LOADER, META } from './cell-imports.js'
import { markMemory, peakSince } from './memory-mark.js'
import { renewUsed } from './renew.js'
import { resultOf } from './result.js'
import { knowInterfaces, knowMemory, reportMemory, writeSynchronously } from './stand-ins.js'
import { KIND } from '../kinds.js'
import { FRAME_BYTES_MAX, send, writeFully } from './wire.js'
import { has } from './own.js'

const STDIN_FD = 0
const STDERR_FD = 2
const CELL_FD = 4
const NOTHING = '/dev/null'
/** Indexes of the memory shared with the interrupter: 1 if its message was answered; number of the running cell. */
const ANSWERED = 0
const RUNNING = 1
const TEXT_CHARS_MAX = 64 * 1024
/** Longest JSON of a character, `\u0000`. */
const ESCAPED_BYTES = 6
const INTERRUPTED = { code: 'INTERRUPTED', message: 'The exec was interrupted' }
const { cpuUsage, env, reallyExit } = process
const { notify, store } = Atomics
const { stringify } = JSON
const { byteLength } = Buffer

/** @typedef {{ nonce: string, sequence: number, name: string, code: string, inputText?: string, stdin?: string, env?: Record<string, string>, resultBytesMax: number }} Cell */
/** @typedef {{ status: 'ok' | 'error', encoding?: string, partial?: true, error?: import('./cell-error.js').CellError }} EndMeta */

/** @type {{ work: string, typed: boolean, hooks: boolean, args: string[], memoryBytes?: number }} */
const settings = JSON.parse(process.argv[2] ?? '{}')
const { work } = settings
const main = path.join(work, 'cell.js')
process.argv = [process.argv[0] ?? 'node', main, ...settings.args]
process.execArgv = []

/** @type {{ cell: Cell, before: NodeJS.CpuUsage, memory: import('./memory-mark.js').MemoryMark, replaced: Record<string, string | undefined> } | undefined} */
let running
let hasStdin = false
/** @type {fs.ReadStream | undefined} */
let stdin

writeSynchronously()
knowInterfaces()
reportMemory()
knowMemory(settings.memoryBytes)
await setUp()
const shared = new Int32Array(new SharedArrayBuffer(8))
startInterrupter()
const socket = new net.Socket({ fd: CELL_FD })
readFrames(
  socket,
  (kind, payload) =>
    kind === KIND.forked ? renewFork() : setImmediate(run, parseJson(payload.toString())),
  FRAME_BYTES_MAX,
)
socket.on('close', () => reallyExit.call(process, 0))
send(KIND.released, '', undefined, CELL_FD)

/** A kernel that cannot be renewed must not go on: it would share its random values. */
function renewFork() {
  try {
    renewUsed()
    send(KIND.released, '', undefined, CELL_FD)
  } catch (error) {
    print(`${inspect(error)}\n`)
    reallyExit.call(process, 1)
  }
}

/** Globals of cells, and handlers that keep the process alive. */
async function setUp() {
  if (settings.hooks) {
    const { readTypeScript } = await import('../typescript/hooks.js')
    readTypeScript({ work, main, isTyped: false })
  }
  const module = { exports: {} }
  const names = { require: createRequire(main), module, exports: module.exports }
  const places = { __filename: main, __dirname: work }
  for (const [name, value] of Object.entries({ ...names, ...places, ...loaders() }))
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true })
  const get = () => (stdin ??= fs.createReadStream('', { fd: STDIN_FD, autoClose: false }))
  Object.defineProperty(process, 'stdin', { get, configurable: true })
  process.on('uncaughtException', (error) => {
    if (process.listenerCount('uncaughtException') === 1) print(printed(error))
  })
  process.on('SIGINT', () => undefined)
  // Node aborts if it cannot create its thread pool at the first file access.
  fs.stat('/', () => undefined)
}

/** Targets of a cell's `import`. */
function loaders() {
  const load = new vm.Script('(specifier, options) => import(specifier, options)', {
    filename: main,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  }).runInThisContext()
  const require = createRequire(main)
  const url = `file://${main}`
  const meta = { url, filename: main, dirname: work, resolve: require.resolve, main: false }
  /** @param {string} specifier @param {unknown} options @param {string[]} [names] */
  const checked = async (specifier, options, names = []) => {
    const loaded = await load(specifier, options)
    // In TypeScript a missing name may be a type, which was stripped.
    const missing = settings.typed ? undefined : names.find((name) => !(name in loaded))
    if (missing === undefined) return loaded
    const problem = `does not provide an export named '${missing}'`
    throw new SyntaxError(`The requested module '${specifier}' ${problem}`)
  }
  return { [LOADER]: checked, [META]: meta }
}

/** Runs in a turn of its own, so that an interrupt unwinds the cell and never the frame reader. @param {Cell} cell */
async function run(cell) {
  const own = { cell, before: cpuUsage(), memory: markMemory(), replaced: {} }
  running = own
  store(shared, RUNNING, cell.sequence)
  try {
    prepare(own)
    const script = scriptOf(cell.code, settings.typed)
    if (has(script, 'message')) {
      const error = syntaxError(script.message, `${cell.name}:${script.line}:${script.column}`)
      print(`${error.stack}\n`)
      return finish(own, { status: 'error', error })
    }
    const ended = await evaluate(script.code, cell.name)
    // The manager starts a new kernel, and reports the state as lost.
    if (ended === 'unreadable') return reallyExit.call(process, 1)
    if (ended === 'terminated') return finish(own, { status: 'error', error: INTERRUPTED })
    if (has(ended, 'thrown'))
      return fail(own, ended.thrown, `${cell.name}:${ended.line}:${ended.column}`)
    succeed(own, await ended.value)
  } catch (error) {
    fail(own, error)
  }
}

/** @param {NonNullable<typeof running>} own */
function prepare({ cell, replaced }) {
  for (const [name, value] of Object.entries(cell.env ?? {})) {
    replaced[name] = env[name]
    env[name] = value
  }
  if (cell.inputText !== undefined) {
    const value = parseJson(cell.inputText)
    Object.defineProperty(globalThis, 'input', { value, writable: true, configurable: true })
  }
  if (cell.stdin !== undefined || hasStdin) reopenStdin(cell.stdin ?? NOTHING)
  hasStdin = cell.stdin !== undefined
}

/** open(2) returns the lowest free descriptor, the one just closed. @param {string} file */
function reopenStdin(file) {
  stdin = undefined
  try {
    fs.closeSync(STDIN_FD)
  } catch {
    // Closed by an earlier cell.
  }
  fs.openSync(file, 'r')
}

/** @param {NonNullable<typeof running>} own @param {unknown} value */
function succeed(own, value) {
  let isLarge = false
  try {
    const result = resultOf(value, own.cell.resultBytesMax, work)
    if (!has(result, 'code'))
      return finish(own, { status: 'ok', encoding: result.encoding }, result.text)
    isLarge = result.code === 'RESULT_TOO_LARGE'
    if (result.code === 'RESULT_NOT_AWAITED') print(`${result.message}\n`)
  } catch {
    // A getter that throws: the value is shown as text.
  }
  const text = typeof value === 'string' ? value : inspect(value)
  const json = quoted(text, own.cell.resultBytesMax)
  const partial = (isLarge || text.length > json.length) && { partial: /** @type {const} */ (true) }
  finish(own, { status: 'ok', encoding: 'text', ...partial }, json)
}

/** JSON of a text, cut if it would be longer than a result may be. @param {string} text @param {number} bytesMax */
function quoted(text, bytesMax) {
  const json = stringify(text.slice(0, TEXT_CHARS_MAX))
  if (byteLength(json) <= bytesMax) return json
  return stringify(text.slice(0, Math.max(0, Math.trunc((bytesMax - 2) / ESCAPED_BYTES))))
}

/** @param {NonNullable<typeof running>} own @param {unknown} thrown @param {string} [place] */
function fail(own, thrown, place) {
  const error = errorOfCell(thrown, work, place)
  print(error.code === 'SYNTAX_ERROR' ? `${error.stack}\n` : printed(thrown))
  finish(own, { status: 'error', error })
}

/** Reports an end once. @param {NonNullable<typeof running>} own @param {EndMeta} meta @param {string} text */
function finish(own, meta, text = 'null') {
  if (running !== own) return
  running = undefined
  store(shared, RUNNING, 0)
  const { cell, before, memory, replaced } = own
  for (const [name, value] of Object.entries(replaced))
    if (value === undefined) delete env[name]
    else env[name] = value
  forgetMessages()
  const { user, system } = cpuUsage(before)
  const cpuTimeMs = (user + system) / 1000
  const peakBytes = peakSince(memory)
  const head = { encoding: 'json', ...meta, nonce: cell.nonce, cpuTimeMs, peakBytes }
  send(KIND.end, `${stringify(head)}\n${text}`, undefined, CELL_FD)
}

/** @param {string} text */
function print(text) {
  writeFully(STDERR_FD, Buffer.from(text))
}

function startInterrupter() {
  const file = new URL('./kernel-interrupter.js', import.meta.url)
  const resourceLimits = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 }
  const worker = new Worker(file, { workerData: shared, resourceLimits, env: {}, execArgv: [] })
  worker.unref()
  worker.on('message', (sequence) => {
    store(shared, ANSWERED, 1)
    notify(shared, ANSWERED)
    if (running?.cell.sequence === sequence)
      finish(running, { status: 'error', error: INTERRUPTED })
  })
}
