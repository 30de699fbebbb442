/**
 * The worker behind the isolate wall: one process, one tenant, one job at a time, each job in a V8 isolate that was
 * never used before and never will be again. It makes cells ahead, says once on the readiness pipe that it is warm,
 * gives up paths, sockets and new processes for good, and only then reads its first byte from the socket.
 *
 * User code runs on the main thread on purpose: a thread hop costs more than most jobs, and whoever waits for this
 * process never depends on it to answer: the deadline is kept, and the process killed, from outside.
 */
import { knock } from '../src/os/libc.js'
import { Cell } from './cell.js'
import { takeCollector } from './collector.js'
import { KIND, leave, open, send, sendText, settings } from './wire.js'
import { parseJson } from './parse-json.js'

/** Text of a job that is worth collecting at once, so that the process is small again for the next. */
const GARBAGE_CHARS = 262_144
const ERROR_CHARS_MAX = 16_384
/** Enough to tell a mistake from somebody who tries doors. */
const TOLD_DENIED_MAX = 200
/** While there are spares enough, whoever waits for the answer gets the processor first. */
const REFILL_AFTER_MS = 2

const spareMiB = settings.spareMiB ?? 128
const sparesMax = settings.spares ?? 8

/** @type {Cell[]} */
const spares = []
/** @type {Map<number, { resolve: (text: string) => void, reject: (error: Error) => void }>} */
const calls = new Map()
let callId = 0
let busy = false

const collectGarbage = takeCollector()
spares.push(new Cell({ memoryMiB: spareMiB, webAssembly: false }))
await warmUp()
refill()
collectGarbage()
open(onFrame)

/** One dummy job, so that nothing on a real job's path runs for the first time. */
async function warmUp() {
  const cell = new Cell({ memoryMiB: spareMiB, webAssembly: false })
  const task = {
    language: 'js',
    entry: 'body',
    code: 'console.log(input); await null; return { a: input.a + 1 }',
    inputText: '{"a":1}',
    files: [],
    capabilities: [],
    timeoutMs: 1000,
    outputBytesMax: 1024,
    resultBytesMax: 1024,
  }
  const quiet = { released() {}, stdout() {}, stderr() {}, call: async () => 'null' }
  await cell.run(task, quiet)
  cell.dispose()
}

/** @param {number} kind @param {Buffer} payload */
function onFrame(kind, payload) {
  if (kind === KIND.run && !busy) void runJob(parseJson(payload.toString()))
  else if (kind === KIND.knock && !busy) send(KIND.knocked, JSON.stringify(knock()))
  else if (kind === KIND.reply) onReply(parseJson(payload.toString()))
  else leave()
}

/** @param {any} task */
async function runJob(task) {
  busy = true
  const cell = take(task)
  const end = await cell.run(task, {
    released: () => send(KIND.released, ''),
    stdout: (/** @type {string} */ text) => sendText(KIND.stdout, text),
    stderr: (/** @type {string} */ text) => sendText(KIND.stderr, text),
    call: callOut,
    denied: tellDenied(),
    answered: ({ resultText, error, ...meta }) => {
      const head = { protocol: 1, ...meta, ...(error && { error: clipped(error) }) }
      send(KIND.answered, `${JSON.stringify(head)}\n${resultText}`)
    },
  })
  const { resultText, error, ...meta } = end
  const head = { protocol: 1, ...meta, ...(error && { error: clipped(error) }) }
  send(KIND.end, `${JSON.stringify(head)}\n${resultText}`)
  calls.clear()
  cell.dispose()
  busy = false
  send(KIND.idle, '')
  if (end.poisoned) leave()
  if (task.code.length + task.inputText.length + resultText.length > GARBAGE_CHARS) collectGarbage()
  if (spares.length < sparesMax / 2) setImmediate(refillOne)
  else setTimeout(refillOne, REFILL_AFTER_MS)
}

/** V8 itself quotes the source in some errors: a pattern of 100 KB, whole. @param {Record<string, string>} error */
function clipped(error) {
  return Object.fromEntries(
    Object.entries(error).map(([key, text]) => [key, text?.slice(0, ERROR_CHARS_MAX)]),
  )
}

/** A spare where it fits the job exactly; else a cell of its own, made now.
 * @param {{ memoryMiB: number, webAssembly: boolean, trace?: boolean }} task */
function take({ memoryMiB, webAssembly, trace: isTraced = false }) {
  const fits = memoryMiB === spareMiB && !webAssembly && !isTraced
  return (fits && spares.pop()) || new Cell({ memoryMiB, webAssembly, isTraced })
}

function refill() {
  while (spares.length < sparesMax)
    spares.push(new Cell({ memoryMiB: spareMiB, webAssembly: false }))
}

/** One cell at a time, and only between jobs, so that a waiting job waits for one cell at most. */
function refillOne() {
  if (busy || spares.length >= sparesMax) return
  spares.push(new Cell({ memoryMiB: spareMiB, webAssembly: false }))
  setImmediate(refillOne)
}

/** As the server takes them. */
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

/** What was refused here is asked for outside as well, without what it was asked with: refused there too, and seen. */
function tellDenied() {
  let left = TOLD_DENIED_MAX
  /** @param {string} name */
  return (name) => {
    if (left-- > 0) send(KIND.call, `${JSON.stringify({ id: ++callId, name })}\nnull`)
  }
}

/** @param {{ id: number, text?: string, error?: string }} reply */
function onReply(reply) {
  const call = calls.get(reply.id)
  calls.delete(reply.id)
  if (reply.error !== undefined) call?.reject(new Error(reply.error))
  else call?.resolve(reply.text ?? 'null')
}
