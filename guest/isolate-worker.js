/**
 * Worker of the isolate wall: one process, one tenant, one job at a time, each in a fresh V8 isolate. It
 * creates spare cells, signals readiness on its pipe, gives up paths, sockets and new processes for good, and
 * only then reads its first byte from the socket.
 *
 * User code runs on the main thread on purpose: a thread hop costs more than most jobs, and the parent does not
 * depend on an answer: it enforces the deadline from outside, by killing the process.
 */
import { probeOwnWall } from '../src/os/probe-own-wall.js'
import { Cell } from './cell.js'
import { CellFrames } from './cell/frames.js'
import { storeParts } from './cell/parts.js'
import { REHEARSAL } from './cell/rehearsal.js'
import { takeGc } from './take-gc.js'
import { loadTransformer } from './typescript/transform.js'
import { KIND } from './kinds.js'
import { settings } from './settings.js'
import { leave, open, send } from './wire.js'
import { parseJson } from './parse-json.js'

/** Size of a job's text that triggers garbage collection after it, to keep the process small. */
const GARBAGE_CHARS = 262_144
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
let busy = false
/** @type {import('./cell/session.js').CellSession | undefined} */
let session
const frames = new CellFrames(send)

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
  else if (kind === KIND.probe && !busy) send(KIND.probed, JSON.stringify(probeOwnWall()))
  else if (kind === KIND.file && session) drain(session, parseJson(payload.toString()))
  else if (kind === KIND.reply) frames.reply(parseJson(payload.toString()))
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
  const hooks = frames.sessionListeners()
  session = take(task).open(task, {
    ...hooks,
    ended: (report) => {
      hooks.ended(report)
      if (report.text.length > GARBAGE_CHARS) setImmediate(collectGarbage)
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
    ...frames.listeners(),
    released: () => send(KIND.released, ''),
  })
  frames.end(end)
  cell.dispose()
  busy = false
  send(KIND.idle, '')
  if (end.poisoned) leave()
  if (task.code.length + task.inputText.length + end.resultText.length > GARBAGE_CHARS)
    collectGarbage()
  if (spares.length < sparesMax / 2) setImmediate(refillOne)
  else setTimeout(refillOne, REFILL_AFTER_MS)
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
