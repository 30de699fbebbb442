import { existsSync } from 'node:fs'
import { cacheBriefly } from '../lib/cache-briefly.ts'

/**
 * Variables by which runtimes that size their heap by the machine learn the memory limit of a job. Without them V8 and the
 * JVM find the host's memory (24 GiB: a heap of 4 GiB, or 6), collect no garbage below it, and are ended at a limit that
 * their live data is far below.
 */
const MiB = 2 ** 20
/** Memory of a Node outside of its old space: young space, code, stacks and small buffers; measured as 40 MiB. */
const besidesHeapBytes = 48 * MiB
const heapShareLeast = 0.75
const jvmFolder = '/usr/lib/jvm'
const lookMs = 60_000
const SEMI_SPACE_MIB_MAX = 32
const MEMORY_PER_SEMI_SPACE = 32

const hasJvm = cacheBriefly(lookMs, () => existsSync(jvmFolder))

export function memoryVariables(
  memoryBytes: number,
  isWithJvm: boolean = hasJvm(),
): Readonly<Record<string, string>> {
  const heapBytes = Math.max(memoryBytes * heapShareLeast, memoryBytes - besidesHeapBytes)
  return {
    NODE_OPTIONS: [
      `--max-old-space-size=${Math.max(1, Math.floor(heapBytes / MiB))}`,
      `--max-semi-space-size=${semiSpaceMiB(memoryBytes)}`,
    ].join(' '),
    // The JVM names it on stderr each time it starts, so it is set only where there is one.
    ...(isWithJvm && { JAVA_TOOL_OPTIONS: `-XX:MaxRAM=${memoryBytes}` }),
  }
}

/** A part of the young space, of which there are three: 32 MiB on a large machine. */
function semiSpaceMiB(memoryBytes: number): number {
  return Math.min(
    SEMI_SPACE_MIB_MAX,
    Math.max(1, Math.floor(memoryBytes / MiB / MEMORY_PER_SEMI_SPACE)),
  )
}
