/** Replacements for functions of Node that do not work in a wall, for programs of a job and cells of a session. */
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import { setFlagsFromString } from 'node:v8'

/** Replaces os.networkInterfaces: the wall has no netlink to query them, and has only `lo`. */
export function knowInterfaces() {
  const mac = '00:00:00:00:00:00'
  const own = { internal: true, mac }
  const lo = [
    { address: '127.0.0.1', netmask: '255.0.0.0', family: 'IPv4', cidr: '127.0.0.1/8', ...own },
  ]
  os.networkInterfaces = () => ({ lo: structuredClone(lo) })
}

/** Memory limit below which the heap grows by half at a time, not up to four times. */
const SMALL_BYTES = 512 * 2 ** 20

/** Bytes that the job may use, above those of the idle process. */
let memoryBytesMax = Infinity

/**
 * Lets Node report the memory limit of the job, once `knowMemory` has set it, as the machine's memory, for programs that size
 * caches and pools by that: the kernel reports the host's. Bounds nothing; threads, children and /proc/meminfo still have
 * the host's figures. Called last while a runner gets ready: exports of all modules are updated, and the memory in use counts as
 * that of the idle process.
 */
export function reportMemory() {
  const { freemem, totalmem } = os
  const constrained = process.constrainedMemory.bind(process)
  const available = process.availableMemory.bind(process)
  const idle = residentBytes()
  const used = () => Math.max(0, residentBytes() - idle)
  const isKnown = () => memoryBytesMax !== Infinity
  const free = () => Math.max(0, Math.min(freemem(), memoryBytesMax - used()))
  os.totalmem = () => Math.min(totalmem(), memoryBytesMax)
  os.freemem = free
  process.constrainedMemory = () => (isKnown() ? memoryBytesMax : constrained())
  process.availableMemory = () => (isKnown() ? free() : available())
  syncBuiltinESMExports()
}

/** 0 where the wall shows no /proc/self, as one without namespaces does. */
function residentBytes() {
  try {
    return process.memoryUsage.rss()
  } catch {
    return 0
  }
}

/** @param {number | undefined} limit bytes above those of the idle process */
export function knowMemory(limit) {
  if (limit === undefined || limit <= 0) return
  memoryBytesMax = Math.floor(limit)
  // Read by V8 at each collection; the largest heap is fixed when Node starts.
  if (limit < SMALL_BYTES) setFlagsFromString('--heap-growing-percent=50')
}

/** Writes synchronously, so that a job that exits at once loses no output. */
export function writeSynchronously() {
  for (const name of /** @type {const} */ (['stdout', 'stderr'])) writeWhole(name)
}

/** @param {'stdout' | 'stderr'} name */
function writeWhole(name) {
  const own = Object.getOwnPropertyDescriptor(process, name)
  const get = () => {
    const stream = own?.get?.call(process)
    stream._handle?.setBlocking?.(true)
    return stream
  }
  Object.defineProperty(process, name, { ...own, get })
}
