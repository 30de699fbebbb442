/**
 * Runner's end of the control socket. I/O is synchronous and complete: the process has no other work while it
 * waits for its one job, and user code may block this thread for good. Intrinsics are taken before user code
 * could replace them.
 */
import fs from 'node:fs'
import { KIND } from '../kinds.js'

const { closeSync, readSync, writeSync } = fs
export const CONTROL_FD = 5
const READY_FD = 4
export const FRAME_BYTES_MAX = 96 * 2 ** 20
const HEADER_BYTES = 5
/** Maximum size of a frame sent ahead of a job, with its head. */
const PIECE_BYTES_MAX = 264 * 1024
const doze = new Int32Array(new SharedArrayBuffer(4))
const { wait } = Atomics
const { alloc, from } = Buffer
const { getOwnPropertyDescriptor, hasOwn, prototype: everyObject, setPrototypeOf } = Object
const { defineProperty, deleteProperty } = Reflect
const { bind, call } = Function.prototype
const writeUInt32 = bind.call(call, Buffer.prototype.writeUInt32LE)
const set = bind.call(call, Uint8Array.prototype.set)

/** Signals readiness to the warden, once. */
export function sayReady() {
  writeSync(READY_FD, 'R')
  closeSync(READY_FD)
}

/** Reports a failed start to the warden. @param {unknown} error */
export function sayUnready(error) {
  writeSync(READY_FD, `E${error instanceof Error ? error.message : String(error)}`)
}

/**
 * Waits for the next frame; undefined on end of stream.
 * @param {number} fd @returns {{ kind: number, payload: Buffer } | undefined}
 */
export function nextFrame(fd = CONTROL_FD) {
  const header = readFully(fd, HEADER_BYTES)
  if (!header) return undefined
  const length = header.readUInt32LE(0)
  if (length < 1 || length > FRAME_BYTES_MAX) return undefined
  const kind = header[4] ?? 0
  const payload = readFully(fd, length - 1, kind === KIND.ahead ? piece : undefined)
  return payload && { kind, payload }
}

/** Shared buffer: unreferenced ones would count until they are collected. */
const piece = Buffer.allocUnsafe(PIECE_BYTES_MAX)

/** Blocks until killed, or until the server closes: everything has been reported. */
export function stay() {
  nextFrame()
}

/** @param {number} fd @param {number} bytes @param {Buffer} [into] where it fits */
function readFully(fd, bytes, into) {
  const whole = into && bytes <= into.length ? into.subarray(0, bytes) : Buffer.allocUnsafe(bytes)
  for (let at = 0; at < bytes;) {
    const read = some(() => readSync(fd, whole, at, bytes - at, null))
    if (read === 0) return undefined
    at += read ?? 0
  }
  return whole
}

/**
 * Sends a frame in one write, since each wakes the reader.
 * @param {number} kind @param {string} [text] @param {Uint8Array} [bytes] behind it @param {number} [fd]
 */
export function send(kind, text = '', bytes, fd = CONTROL_FD) {
  const body = from(text)
  const head = alloc(HEADER_BYTES + body.length)
  writeUInt32(head, 1 + body.length + (bytes?.length ?? 0), 0)
  head[4] = kind
  set(head, body, HEADER_BYTES)
  writeFully(fd, head)
  if (bytes) writeFully(fd, bytes)
}

/** Blocks until the reader accepts all bytes: back-pressure on the guest. @param {number} fd @param {Uint8Array} bytes */
export function writeFully(fd, bytes) {
  for (let at = 0; at < bytes.length;) at += some(() => writeOnce(fd, bytes, at)) ?? 0
}

/**
 * Node reads `errno` and `error` of a plain object after each write; such a property on Object.prototype, set by user code,
 * would look like a failed write. It is removed during the write.
 * @param {number} fd @param {Uint8Array} bytes @param {number} at
 */
function writeOnce(fd, bytes, at) {
  if (!hasOwn(everyObject, 'errno') && !hasOwn(everyObject, 'error'))
    return writeSync(fd, bytes, at, bytes.length - at, null)
  const errno = ownOf('errno')
  const error = ownOf('error')
  deleteProperty(everyObject, 'errno')
  deleteProperty(everyObject, 'error')
  try {
    return writeSync(fd, bytes, at, bytes.length - at, null)
  } finally {
    if (errno) defineProperty(everyObject, 'errno', errno)
    if (error) defineProperty(everyObject, 'error', error)
  }
}

/** Property descriptor without a prototype, to which user code may have added a `get`. @param {string} name */
function ownOf(name) {
  const found = getOwnPropertyDescriptor(everyObject, name)
  return found && setPrototypeOf(found, null)
}

/** A single attempt; undefined on EAGAIN. @param {() => number} act */
function some(act) {
  try {
    return act()
  } catch (error) {
    if (/** @type {any} */ (error).code !== 'EAGAIN') throw error
    wait(doze, 0, 0, 1)
    return undefined
  }
}
