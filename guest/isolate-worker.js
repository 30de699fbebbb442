/**
 * Worker of the isolate wall: one process, one tenant, one job at a time, each in a fresh V8 isolate. It
 * creates spare cells, signals readiness on its pipe, gives up paths, sockets and new processes for good, and
 * only then reads its first byte from the socket.
 *
 * User code runs on the main thread on purpose: a thread hop costs more than most jobs, and the parent does not
 * depend on an answer: it enforces the deadline from outside, by killing the process.
 */
import { probeFilter } from '../src/os/libc.js'
import { Cell } from './cell.js'
import { storeParts } from './cell/parts.js'
import { REHEARSAL } from './cell/rehearsal.js'
import { takeGc } from './take-gc.js'
import { loadTransformer } from './typescript/transform.js'
import { KIND, leave, open, send, sendText, settings } from './wire.js'
import { parseJson } from './parse-json.js'

/** Size of a job's text that triggers garbage collection after it, to keep the process small. */
const GARBAGE_CHARS = 262_144
const ERROR_CHARS_MAX = 16_384
/** Limit of reported denials: enough to distinguish an error from probing. */
const REPORTED_DENIED_MAX = 200
/** Delay of the collection after a session was opened, so that its first exec comes before. */
const GARBAGE_AFTER_MS = 50
/** Delay of the refill while enough spares exist, so that the reader of the reply gets the CPU first. */
const REFILL_AFTER_MS = 2
/** Spares that the server requests from a worker for which a job is waiting. */
const SPARES_AWAITED = 1

const spareMiB = settings.spareMiB ?? 128
const sparesMax = settings.spares ?? 8

/** @type {Cell[]} */
const spares = []
/** @type {Map<number, { resolve: (text: string) => void, reject: (error: Error) => void }>} */
const calls = new Map()
let callId = 0
let busy = false
/** @type {import('./cell/session.js').CellSession | undefined} */
let session
/** Sends what a job prints, calls and is refused to the server. */
const listeners = () => ({
  stdout: (/** @type {string} */ text) => sendText(KIND.stdout, text),
  stderr: (/** @type {string} */ text) => sendText(KIND.stderr, text),
  call: callOut,
  denied: reportDenied(),
  refused: reportRefused,
})

loadTransformer()
const collectGarbage = takeGc()
spares.push(new Cell({ memoryMiB: spareMiB, webAssembly: false }))
refill()
// Skipped if a job is waiting for this worker: each step takes as long as creating several cells.
if (sparesMax > SPARES_AWAITED) {
  await warmUp()
  await import('node:crypto')
  collectGarbage()
}
if (settings.compiles) storeParts(process.env['NODE_COMPILE_CACHE'])
open(onFrame)

/** Runs a dummy job, so that the first real job finds warm code. */
async function warmUp() {
  const cell = new Cell({ memoryMiB: spareMiB, webAssembly: false })
  const code = 'console.log(input); await null; return { a: input.a + 1 }'
  const task = { ...REHEARSAL, code, inputText: '{"a":1}' }
  const quiet = { released() {}, stdout() {}, stderr() {}, call: async () => 'null' }
  await cell.run(task, quiet)
  cell.dispose()
}

/** @param {number} kind @param {Buffer} payload */
function onFrame(kind, payload) {
  if (kind === KIND.run && !busy) begin(parseJson(payload.toString()))
  else if (kind === KIND.exec && session) session.exec(parseJson(payload.toString()))
  else if (kind === KIND.interrupt && session) session.interrupt(parseJson(payload.toString()).id)
  else if (kind === KIND.probe && !busy) send(KIND.probed, JSON.stringify(probeFilter()))
  else if (kind === KIND.file && session) drain(session, parseJson(payload.toString()))
  else if (kind === KIND.reply) onReply(parseJson(payload.toString()))
  else leave()
}

/** @param {any} task */
function begin(task) {
  busy = true
  if (task.session) openSession(task)
  else void runJob(task)
}

/**
 * Keeps one cell open for execs. The process belongs to this session until the server kills it, so it drops all other cells.
 * @param {any} task
 */
function openSession(task) {
  session = take(task).open(task, {
    ...listeners(),
    released() {},
    ended: ({ text, error, ...report }) => {
      sendHead(KIND.execEnd, { ...report, error }, text)
      if (text.length > GARBAGE_CHARS) setImmediate(collectGarbage)
    },
    over: ({ status, error }) => {
      const cost = { cpuTimeMs: 0, executionMs: 0, poisoned: true }
      sendHead(KIND.end, { status, encoding: 'json', ...cost, error }, 'null')
    },
  })
  send(KIND.released, '')
  setImmediate(shed)
}

/** Disposes of spare cells one at a time, so that an exec waits for at most one disposal. */
function shed() {
  const spare = spares.pop()
  if (!spare) return void setTimeout(collectGarbage, GARBAGE_AFTER_MS)
  spare.dispose()
  setImmediate(shed)
}

/** @param {import('./cell/session.js').CellSession} open @param {{ id: string }} request `drain`, the only file operation of a guest without files */
function drain(open, { id }) {
  open.rest()
  send(KIND.filed, `${JSON.stringify({ protocol: 1, id })}\n`)
}

/** @param {any} task */
async function runJob(task) {
  const cell = take(task)
  const end = await cell.run(task, {
    ...listeners(),
    released: () => send(KIND.released, ''),
    answered: ({ resultText, error, ...meta }) => {
      sendHead(KIND.answered, { ...meta, error }, resultText)
    },
  })
  const { resultText, error, ...meta } = end
  sendHead(KIND.end, { ...meta, error }, resultText)
  calls.clear()
  cell.dispose()
  busy = false
  send(KIND.idle, '')
  if (end.poisoned) leave()
  if (task.code.length + task.inputText.length + resultText.length > GARBAGE_CHARS) collectGarbage()
  if (spares.length < sparesMax / 2) setImmediate(refillOne)
  else setTimeout(refillOne, REFILL_AFTER_MS)
}

/** Sends a JSON head, with the error truncated, followed by a text. @param {number} kind @param {any} head @param {string} text */
function sendHead(kind, { error, ...head }, text) {
  const whole = { protocol: 1, ...head, ...(error && { error: clipped(error) }) }
  send(kind, `${JSON.stringify(whole)}\n${text}`)
}

/**
 * V8 quotes the source in some errors: for example a regular expression of 100 KB in full. @param
 * {Record<string, string>} error
 */
function clipped(error) {
  return Object.fromEntries(
    Object.entries(error).map(([key, text]) => [key, text?.slice(0, ERROR_CHARS_MAX)]),
  )
}

/**
 * Takes a spare that fits the job exactly, else creates a cell now.
 * @param {{ memoryMiB: number, webAssembly: boolean, trace?: boolean }} task
 */
function take({ memoryMiB, webAssembly, trace: isTraced = false }) {
  const fits = memoryMiB === spareMiB && !webAssembly && !isTraced
  return (fits && spares.pop()) || new Cell({ memoryMiB, webAssembly, isTraced })
}

function refill() {
  while (spares.length < sparesMax)
    spares.push(new Cell({ memoryMiB: spareMiB, webAssembly: false }))
}

/** Creates one cell at a time, and only between jobs, so that a job waits for one cell at most. */
function refillOne() {
  if (busy || spares.length >= sparesMax) return
  spares.push(new Cell({ memoryMiB: spareMiB, webAssembly: false }))
  setImmediate(refillOne)
}

/** Maximum the server accepts. */
const ARGS_BYTES_MAX = 4 * 2 ** 20

/** @param {string} name @param {string} argsText @returns {Promise<string>} */
function callOut(name, argsText) {
  if (Buffer.byteLength(argsText) > ARGS_BYTES_MAX)
    return Promise.reject(
      new RangeError(`Cannot call "${name}": the arguments are larger than 4 MiB`),
    )
  const id = ++callId
  const { promise, resolve, reject } = Promise.withResolvers()
  calls.set(id, { resolve, reject })
  send(KIND.call, `${JSON.stringify({ id, name })}\n${argsText}`)
  return promise
}

/**
 * Reports capability calls refused here to the server, without their arguments; it refuses them too, and
 * records them.
 */
function reportDenied() {
  let left = REPORTED_DENIED_MAX
  /** @param {string} name */
  return (name) => {
    if (left-- > 0) send(KIND.call, `${JSON.stringify({ id: ++callId, name })}\nnull`)
  }
}

/** Reports a name that the realm lacks. @param {string} name @param {string} [module] */
function reportRefused(name, module) {
  send(KIND.refused, JSON.stringify({ name, module }))
}

/** @param {{ id: number, text?: string, error?: string }} reply */
function onReply(reply) {
  const call = calls.get(reply.id)
  calls.delete(reply.id)
  if (reply.error !== undefined) call?.reject(new Error(reply.error))
  else call?.resolve(reply.text ?? 'null')
}
