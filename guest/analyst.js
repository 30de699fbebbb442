/**
 * The disposable analysis process: reads one request after the other from its socket, inspects the source and
 * answers with what it saw. It never speaks first on that socket, holds nothing from one job to the next, and ends at
 * anything that breaks: a death is a finding.
 *
 * MAYFLY_FD names the socket (3 unless said otherwise); one byte `R` on descriptor 4 says that everything is loaded
 * and warm, after which no file is opened any more.
 */
import { writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { capResource, exitNow, loadSeccomp } from '../src/os/libc.js'
import { inspect } from '../src/threat/inspect.ts'
import { takeCollector } from './collector.js'
import { readFrames, writeFrame } from './frames.js'
import { warmUp } from './warm.js'
import { parseJson } from './parse-json.js'

const REQUEST = 1
const REPLY = 2
const READY_FD = 4
/** A job's code and files, as JSON text. */
const REQUEST_BYTES_MAX = 80 * 2 ** 20

// The stripper's warning that it is experimental would be the only thing ever written to stderr.
process.removeAllListeners('warning')
const settings = JSON.parse(process.env['MAYFLY_ANALYST'] ?? '{}')
const collectGarbage = takeCollector()
warmUp(inspect, settings.warm ?? 20)
collectGarbage()
const socket = new Socket({ fd: Number(process.env['MAYFLY_FD'] ?? 3) })
socket.pause()
settle()
tellReady()
readFrames(
  socket,
  (kind, payload) => {
    if (kind === REQUEST) writeFrame(socket, REPLY, JSON.stringify(inspect(requestOf(payload))))
  },
  REQUEST_BYTES_MAX,
)
socket.on('close', () => exitNow(0))
socket.on('error', () => exitNow(1))
socket.resume()

/**
 * @param {Buffer} payload
 * @returns {import('../src/threat/inspect.ts').InspectRequest}
 */
function requestOf(payload) {
  return parseJson(payload.toString('utf8'))
}

/** From here on no file is opened, no socket made and nothing started, whatever a source makes the parser do. */
function settle() {
  // As in wire.js: a signal to all of a systemd unit comes before its jobs have drained.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined)
  capResource('core', 1)
  if (settings.seccomp) loadSeccomp(Buffer.from(settings.seccomp, 'base64'))
}

function tellReady() {
  try {
    writeSync(READY_FD, 'R')
  } catch {
    // Started by hand, without anybody to tell.
  }
}
