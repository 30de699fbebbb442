import { createHook } from 'node:async_hooks'
import { openSync, readSync } from 'node:fs'

/**
 * Observes one call of a function declared to only compute. Two observers: async_hooks report async resources it
 * creates (sockets, timers, files, promises), and /proc/thread-self/io counts reads and writes of this thread.
 *
 * Blind spots: system calls that move no bytes (stat, rename, unlink), writes of eight bytes to what is no disk or to a
 * page of a file that waits to be written already, and writes to this process's memory. It detects a wrong declaration;
 * it is no wall.
 */
export interface ObservedCall<T> {
  readonly value: T
  /** Observed effects: `TCPWRAP`, `Timeout`, `read` … */
  readonly seen: readonly string[]
}

/** Rethrows errors of `run`, unless an effect was seen. */
export function observeCall<T>(run: () => T): ObservedCall<T | undefined> {
  begun.clear()
  const before = transferred()
  hook.enable()
  try {
    return { value: run(), seen: seenSince(before) }
  } catch (thrown) {
    const seen = seenSince(before)
    if (seen.length === 0) throw thrown
    return { value: undefined, seen }
  } finally {
    hook.disable()
  }
}

const namesMax = 20
const begun = new Set<string>()
const hook = createHook({
  init(_id, type) {
    if (begun.size < namesMax) begun.add(type)
  },
})

interface Transferred {
  readonly reads: number
  readonly writes: number
  readonly bytesOut: number
  /** Bytes of files on a disk, in whole pages. */
  readonly onDisk: number
}

function seenSince(before: Transferred): readonly string[] {
  hook.disable()
  const { reads, writes, bytesOut, onDisk } = transferred()
  // Subtracts the observer's own read; eventfd wake-ups of other threads write eight bytes each.
  const wrote = bytesOut - before.bytesOut
  return [
    ...begun,
    ...(reads - before.reads > ownReads ? ['read'] : []),
    ...(wrote !== wakeBytes * (writes - before.writes) || onDisk > before.onDisk ? ['write'] : []),
  ]
}

const wakeBytes = 8
const looked = Buffer.alloc(512)
/** Undefined if the kernel has no task I/O accounting; then only async_hooks observe. */
let counters: number | undefined
let isOpened = false
let ownReads = 0

function transferred(): Transferred {
  if (!isOpened) open()
  if (counters === undefined) return { reads: 0, writes: 0, bytesOut: 0, onDisk: 0 }
  const text = looked.toString('latin1', 0, readSync(counters, looked, 0, looked.length, 0))
  return {
    reads: read(text, reading),
    writes: read(text, writing),
    bytesOut: read(text, out),
    onDisk: read(text, disk),
  }
}

const reading = /^syscr: (\d+)$/m
const writing = /^syscw: (\d+)$/m
const out = /^wchar: (\d+)$/m
const disk = /^write_bytes: (\d+)$/m

function read(text: string, line: RegExp): number {
  return Number(line.exec(text)?.[1] ?? 0)
}

/** Opens the counters of this thread; the fd stays open for the life of the thread. */
function open(): void {
  isOpened = true
  // The first date of a process reads the time zone from files.
  new Date().getTimezoneOffset()
  try {
    counters = openSync('/proc/thread-self/io', 'r')
    const first = transferred()
    ownReads = transferred().reads - first.reads
  } catch {
    counters = undefined
  }
}
