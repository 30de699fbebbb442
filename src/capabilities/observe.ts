import { createHook } from 'node:async_hooks'
import { openSync, readSync } from 'node:fs'

/**
 * Watches one call of a function that was declared to compute and nothing else, from its first instruction to its
 * answer. Two observers: the runtime, which tells of everything that was begun and would go on after the answer
 * (sockets, timers, files, promises), and the kernel, which counts what this thread read and wrote meanwhile, through
 * whatever function it was.
 *
 * What neither sees: system calls that move no bytes (a file that is looked for, renamed or removed), and memory of
 * this process that it changes. It catches a wrong declaration; it is no wall.
 */
export interface Observed<T> {
  readonly value: T
  /** What was seen that no computation does: `TCPWRAP`, `Timeout`, `read` … */
  readonly seen: readonly string[]
}

/** Throws what `run` throws, unless something was seen. */
export function observe<T>(run: () => T): Observed<T | undefined> {
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
}

function seenSince(before: Transferred): readonly string[] {
  hook.disable()
  const { reads, writes, bytesOut } = transferred()
  // One of the reads is that of the first look; a wake-up of another thread writes eight bytes.
  const wrote = bytesOut - before.bytesOut
  return [
    ...begun,
    ...(reads - before.reads > ownReads ? ['read'] : []),
    ...(wrote !== wakeBytes * (writes - before.writes) ? ['write'] : []),
  ]
}

const wakeBytes = 8
const looked = Buffer.alloc(512)
/** Undefined where the kernel does not count; then the runtime alone is asked. */
let counters: number | undefined
let isOpened = false
let ownReads = 0

function transferred(): Transferred {
  if (!isOpened) open()
  if (counters === undefined) return { reads: 0, writes: 0, bytesOut: 0 }
  const text = looked.toString('latin1', 0, readSync(counters, looked, 0, looked.length, 0))
  return { reads: read(text, reading), writes: read(text, writing), bytesOut: read(text, out) }
}

const reading = /^syscr: (\d+)$/m
const writing = /^syscw: (\d+)$/m
const out = /^wchar: (\d+)$/m

function read(text: string, line: RegExp): number {
  return Number(line.exec(text)?.[1] ?? 0)
}

/** Those of this thread, whoever uses it; kept open as long as it lives. */
function open(): void {
  isOpened = true
  try {
    counters = openSync('/proc/thread-self/io', 'r')
    const first = transferred()
    ownReads = transferred().reads - first.reads
  } catch {
    counters = undefined
  }
}
