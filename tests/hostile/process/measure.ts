import { statfsSync, statSync } from 'node:fs'
import { descendantsOf } from '../proc.ts'
import {
  bounds as boundsOfProcesses,
  boundsOfMachine,
  boundsOfSentry,
  boundsOfUserKernel,
} from './bounds.ts'
import type { Bound, ProcessCase } from './case.ts'
import { cpuOfTree, sizeOfTree } from './look.ts'
import type { WallName } from './walls.ts'

/** Usage of one job, measured from outside while it runs alone: of the tree below the warden that grew most. */
export interface Measure {
  /** Reason why it exceeded the bound of its case. */
  over(hostile: ProcessCase, wall: WallName): string | undefined
  stop(): void
}

const pollMs = 25
/** Minimum window for a meaningful CPU share. */
const cpuWindowMsMin = 500
const scratch = ['work', 'tmp', 'dev/shm'] as const

export function measure(): Measure {
  const idle = new Map(treesBelow().map((pid) => [pid, sizeOfTree(pid).bytes]))
  const idleCpu = new Map(treesBelow().map((pid) => [pid, cpuOfTree(pid)]))
  const began = performance.now()
  const most: Record<Bound, number> = { memory: 0, processes: 0, disk: 0, cpu: 0 }
  const raise = (bound: Bound, to: number): void => void (most[bound] = Math.max(most[bound], to))
  const look = (): void => {
    for (const pid of treesBelow()) {
      const { bytes, processes } = sizeOfTree(pid)
      // An idle wall already has its interpreter; the bound has room for one.
      raise('memory', bytes - (idle.get(pid) ?? 0))
      raise('processes', processes)
      raise('disk', scratchBytes(pid))
      const ms = performance.now() - began
      const burnt = cpuOfTree(pid) - (idleCpu.get(pid) ?? 0)
      if (ms > cpuWindowMsMin) raise('cpu', burnt / ms)
    }
  }
  const timer = setInterval(look, pollMs)
  return {
    over({ over }, wall) {
      const bounds = boundsOf[wall] ?? boundsOfProcesses
      if (over === 'memory' && most.memory > bounds.memoryBytes)
        return `memory: ${most.memory >> 20} MiB`
      if (over === 'processes' && most.processes > bounds.processes)
        return `${most.processes} processes`
      if (over === 'disk' && most.disk > bounds.diskBytes) return `disk: ${most.disk >> 20} MiB`
      if (over === 'cpu' && most.cpu > bounds.cpu) return `cpu: ${most.cpu.toFixed(2)} cores`
      return undefined
    },
    stop: () => clearInterval(timer),
  }
}

const boundsOf: Partial<Record<WallName, typeof boundsOfSentry>> = {
  gvisor: boundsOfSentry,
  qemu: boundsOfMachine,
  'user-mode-linux': boundsOfUserKernel,
}

/** Each wall is a tree below the warden, a child of this process. */
function treesBelow(): readonly number[] {
  const wardens = childrenOf(process.pid)
  return wardens.flatMap(childrenOf)
}

function childrenOf(pid: number): readonly number[] {
  const below = descendantsOf(pid)
  const deeper = new Set(below.flatMap(descendantsOf))
  return below.filter((one) => !deeper.has(one))
}

/** Bytes written in a wall's own file systems; 0 if inaccessible to the host. */
function scratchBytes(pid: number): number {
  const inside = [pid, ...descendantsOf(pid)].at(-1) ?? pid
  const seen = new Map<number, number>()
  for (const name of scratch) {
    const folder = `/proc/${inside}/root/${name}`
    try {
      const { dev } = statSync(folder)
      if (dev === deviceOf(`/${name}`)) continue
      const { bsize, blocks, bfree } = statfsSync(folder)
      seen.set(dev, bsize * (blocks - bfree))
    } catch {}
  }
  return [...seen.values()].reduce((sum, bytes) => sum + bytes, 0)
}

function deviceOf(folder: string): number | undefined {
  return statSync(folder, { throwIfNoEntry: false })?.dev
}
