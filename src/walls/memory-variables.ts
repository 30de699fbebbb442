import { existsSync } from 'node:fs'
import { cacheBriefly } from '../lib/cache-briefly.ts'

/**
 * Environment variables that set the memory limit of a job in runtimes that size their heap by the machine. Without
 * them V8 and the JVM read the host's memory (24 GiB: a heap of 4 GiB, or 6), collect no garbage below that size, and
 * are killed at the job's limit while their live data is far below it.
 */
const MiB = 2 ** 20
/** Memory of Node outside of its old space: young space, code, stacks and small buffers; measured as 40 MiB. */
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
    // The JVM prints this variable to stderr at each start, so it is set only where a JVM is installed.
    ...(isWithJvm && { JAVA_TOOL_OPTIONS: `-XX:MaxRAM=${memoryBytes}` }),
  }
}

/** Size of one of the three semi-spaces of the young generation: 32 MiB on a large machine. */
function semiSpaceMiB(memoryBytes: number): number {
  return Math.min(
    SEMI_SPACE_MIB_MAX,
    Math.max(1, Math.floor(memoryBytes / MiB / MEMORY_PER_SEMI_SPACE)),
  )
}
