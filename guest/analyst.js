/**
 * The disposable analysis process: reads requests from its socket, inspects each source and replies. It sends
 * nothing unrequested, keeps no state between jobs, and exits on any failure: a crash is a finding.
 *
 * MAYFLY_FD names the socket (default 3); one byte `R` on fd 4 signals that everything is loaded and warm,
 * after which no file is opened any more. With the setting `compiles` it fills the folder of compiled code and ends.
 * Relies on the jail around it and on its seccomp filter; the deadline is the client's.
 */
import { writeSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { Socket } from 'node:net'
import { capResource, exitNow, loadSeccomp, trimHeap } from '../src/os/libc.js'
import { inspect } from '../src/threat/inspect.ts'
import { takeGc, WHOLE } from './take-gc.js'
import { readFrames, writeFrame } from './frames.js'
import { warmUp } from './warm.js'
import { parseJson } from './parse-json.js'

const REQUEST = 1
const REPLY = 2
const READY_FD = 4
/** A job's code and files, as JSON text. */
const REQUEST_BYTES_MAX = 80 * 2 ** 20
/** Requests from this size on trigger a collection: the warden counts their garbage as memory of this process. */
const GARBAGE_BYTES = 65_536
/** Idle time after which memory is released. */
const IDLE_MS = 5_000
/** Warm-up sources after a release of memory, which recompiles the code that every source needs. */
const SOURCES_AGAIN = 2

// Suppresses the stripper's experimental warning, the only output on stderr.
process.removeAllListeners('warning')
const settings = JSON.parse(process.env['MAYFLY_ANALYST'] ?? '{}')
const collectGarbage = takeGc()
const warm = settings.warm ?? 20
warmUp(inspect, warm)
collectGarbage()
if (settings.compiles) {
  flushCompileCache()
  exitNow(0)
}
const socket = new Socket({ fd: Number(process.env['MAYFLY_FD'] ?? 3) })
socket.pause()
dropRights()
if (warm > 0) trimHeap()
signalReady()
const idle = setTimeout(releaseMemory, IDLE_MS).unref()
if (warm === 0) clearTimeout(idle)
readFrames(
  socket,
  (kind, payload) => {
    if (kind === REQUEST) answer(payload)
  },
  REQUEST_BYTES_MAX,
)
socket.on('close', () => exitNow(0))
socket.on('error', () => exitNow(1))
socket.resume()

/** @param {Buffer} payload */
function answer(payload) {
  writeFrame(socket, REPLY, JSON.stringify(inspect(requestOf(payload))))
  if (payload.length > GARBAGE_BYTES) setImmediate(dropGarbage)
  if (warm > 0) idle.refresh()
}

function dropGarbage() {
  collectGarbage()
  trimHeap()
}

/** Runs once in each idle period. Last-resort collection also drops compiled code: half of the memory (Node 26). */
function releaseMemory() {
  collectGarbage(WHOLE)
  warmUp(inspect, Math.min(SOURCES_AGAIN, warm))
  dropGarbage()
}

/**
 * @param {Buffer} payload
 * @returns {import('../src/threat/inspect.ts').InspectRequest}
 */
function requestOf(payload) {
  return parseJson(payload.toString('utf8'))
}

/**
 * Drops rights: from here on no file, socket or process can be created, whatever a source makes the parser do.
 */
function dropRights() {
  // As in wire.js: a signal to all processes of a systemd unit arrives before its jobs have drained.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined)
  capResource('core', 1)
  if (settings.seccomp) loadSeccomp(Buffer.from(settings.seccomp, 'base64'))
}

function signalReady() {
  try {
    writeSync(READY_FD, 'R')
  } catch {
    // Started manually, without a readiness pipe.
  }
}
