/**
 * Worker's end of its socket to the server, shared by all kinds of workers. Frames are written synchronously
 * and completely, because user code may block this thread for good.
 */
import fs from 'node:fs'
import { flushCompileCache } from 'node:module'
import net from 'node:net'
import { capResource, exitNow, loadSeccomp } from '../src/os/libc.js'
import { readFrames } from './frames.js'
import { settings } from './settings.js'

const SOCKET_FD = 3
const READY_FD = 4
const FRAME_BYTES_MAX = 64 * 2 ** 20
const HEADER_BYTES = 5

const socket = new net.Socket({ fd: SOCKET_FD, readable: true, writable: false })
socket.pause()
socket.on('error', leave)
socket.on('close', leave)

/**
 * Warm-up is done: gives up paths, sockets and new processes for good, signals on the readiness pipe, and only
 * then reads the first byte from the socket.
 * @param {(kind: number, payload: Buffer) => void} onFrame
 */
export function open(onFrame) {
  if (settings.compiles) {
    flushCompileCache()
    leave()
  }
  // Node's own handlers of SIGINT and SIGTERM make calls that seccomp forbids, which would end this process
  // with SIGSEGV.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined)
  capResource('core', 1)
  if (settings.seccomp) loadSeccomp(Buffer.from(settings.seccomp, 'base64'))
  fs.writeSync(READY_FD, 'R')
  fs.closeSync(READY_FD)
  readFrames(socket, onFrame, FRAME_BYTES_MAX)
  socket.resume()
}

/** @param {number} kind @param {string} text */
export function send(kind, text) {
  const bytes = Buffer.byteLength(text)
  const frame = framed(kind, bytes)
  frame.write(text, HEADER_BYTES)
  write(frame)
}

/** @param {number} kind @param {Uint8Array} bytes */
export function sendBytes(kind, bytes) {
  const frame = framed(kind, bytes.length)
  frame.set(bytes, HEADER_BYTES)
  write(frame)
}

/**
 * Exits without `process.exit()`, unsafe while an isolate lives: its threads may be inside V8. @returns {never}
 */
export function leave() {
  exitNow(0)
}

/** @param {number} kind @param {number} bytes */
function framed(kind, bytes) {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + bytes)
  frame.writeUInt32LE(bytes + 1, 0)
  frame[4] = kind
  return frame
}

/** @param {Buffer} frame */
function write(frame) {
  for (let at = 0; at < frame.length;) at += writeSome(frame, at)
}

const doze = new Int32Array(new SharedArrayBuffer(4))

/**
 * Blocks until the reader accepts the bytes: back-pressure on the guest. @param {Buffer} frame @param {number}
 * at
 */
function writeSome(frame, at) {
  try {
    return fs.writeSync(SOCKET_FD, frame, at)
  } catch (error) {
    if (/** @type {any} */ (error).code !== 'EAGAIN') leave()
    Atomics.wait(doze, 0, 0, 1)
    return 0
  }
}
