/**
 * Worker of the wasm wall: one process, one tenant, one job at a time, each in a fresh instance. Like the
 * isolate worker it gives up paths, sockets and new processes before it reads its first byte.
 *
 * A module runs on the main thread, and nothing here can interrupt it: V8 has no fuel, and counted instructions are no
 * time. The deadline is enforced from outside, by killing the process.
 */
import { probeOwnWall } from '../src/os/probe-own-wall.js'
import { CellFrames } from './cell/frames.js'
import { takeGc } from './take-gc.js'
import { KIND } from './kinds.js'
import { leave, open, send, sendBytes } from './wire.js'
import { runModule } from './wasm/run.js'
import { warmUpModules } from './wasm/warm.js'
import { parseJson } from './parse-json.js'

/** Thresholds for a garbage collection: memory of finished instances, or their number. */
const GARBAGE_BYTES = 4 * 2 ** 20
const GARBAGE_JOBS = 32

const frames = new CellFrames(send)
let garbageBytes = 0
let garbageJobs = 0

const collectGarbage = takeGc()
warmUpModules()
open(onFrame)

/** @param {number} kind @param {Buffer} payload */
function onFrame(kind, payload) {
  if (kind === KIND.run) runJob(parseJson(payload.toString()))
  else if (kind === KIND.probe) send(KIND.probed, JSON.stringify(probeOwnWall()))
  else leave()
}

/** Compilation counts as the job's time: the release comes before it. @param {any} task */
function runJob(task) {
  send(KIND.released, '')
  const began = performance.now()
  const cpu = process.cpuUsage()
  const report = (/** @type {import('./wasm/run.js').End} */ { resultText, ...end }) => {
    const { user, system } = process.cpuUsage(cpu)
    const cost = { cpuTimeMs: (user + system) / 1e3, executionMs: performance.now() - began }
    frames.headed(KIND.end, { ...end, ...cost, poisoned: false }, resultText)
  }
  const end = runModule(task, {
    stdout: (bytes) => sendBytes(KIND.stdout, bytes),
    stderr: (bytes) => sendBytes(KIND.stderr, bytes),
    abandon: (unreturned) => {
      report(unreturned)
      return leave()
    },
    collect: collectGarbage,
  })
  report(end)
  tidyUp(end.memory?.peak)
}

/**
 * Frees large memories before the worker reports that it is idle, because the next job is held to its own
 * limit.
 */
function tidyUp(bytes = GARBAGE_BYTES) {
  garbageBytes += bytes
  garbageJobs += 1
  const isBig = garbageBytes >= GARBAGE_BYTES
  if (isBig) collect()
  send(KIND.idle, '')
  if (garbageJobs >= GARBAGE_JOBS) setImmediate(collect)
}

function collect() {
  garbageBytes = 0
  garbageJobs = 0
  collectGarbage()
}
