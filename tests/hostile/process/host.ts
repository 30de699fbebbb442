import { spawnSync } from 'node:child_process'
import { readFileSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { sizeOfTree } from './look.ts'

/** View of the host without knowledge of walls, and of the tree below this process. */
export interface Host {
  readonly tasks: number
  readonly usedBytes: number
  readonly diskBytes: number
  readonly own: { readonly processes: number; readonly bytes: number }
}

const pollMs = 100

export function lookAtHost(): Host {
  return {
    tasks: Number(/\/(\d+)/.exec(readFileSync('/proc/loadavg', 'utf8'))?.[1]),
    usedBytes: inMemory('MemTotal') - inMemory('MemAvailable'),
    diskBytes: Math.max(...['/', tmpdir(), '/var/tmp'].map(usedOf)),
    own: ownTree(),
  }
}

/** Samples until stopped; returns the maximum of each value. */
export function watchHost(): { stop(): Host } {
  let most = lookAtHost()
  const timer = setInterval(() => (most = worse(most, lookAtHost())), pollMs)
  return {
    stop() {
      clearInterval(timer)
      return most
    },
  }
}

/** Kernel messages since then that no program may cause; undefined if unreadable. */
export function kernelComplaints(since: number): readonly string[] | undefined {
  const { status, stdout } = spawnSync('dmesg', ['--nopager'], { maxBuffer: 2 ** 26 })
  if (status !== 0) return undefined
  const later = (line: string): boolean => Number(/^\[\s*([\d.]+)\]/.exec(line)?.[1] ?? 0) >= since
  return stdout.toString().split('\n').filter(later).filter(isComplaint)
}

/** Seconds since boot, as in the kernel log. */
export function kernelNow(): number {
  return Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0])
}

/** An OOM kill in a cgroup, or a report of a crashed program, is no complaint. */
function isComplaint(line: string): boolean {
  return /\bBUG:|\bOops|general protection|soft lockup|hung_task|blocked for more|detected stall|panic|WARNING: |\] Out of memory: /i.test(
    line.replace('Memory cgroup out of memory', ''),
  )
}

function worse(a: Host, b: Host): Host {
  return {
    tasks: Math.max(a.tasks, b.tasks),
    usedBytes: Math.max(a.usedBytes, b.usedBytes),
    diskBytes: Math.max(a.diskBytes, b.diskBytes),
    own: {
      processes: Math.max(a.own.processes, b.own.processes),
      bytes: Math.max(a.own.bytes, b.own.bytes),
    },
  }
}

/** The tree below this process: the warden and its walls. */
function ownTree(): Host['own'] {
  const { bytes, processes } = sizeOfTree(process.pid)
  return { bytes, processes: processes - 1 }
}

function inMemory(name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(
    readFileSync('/proc/meminfo', 'utf8'),
  )
  return Number(found?.[1]) * 1024
}

function usedOf(folder: string): number {
  const { bsize, blocks, bfree } = statfsSync(folder)
  return (blocks - bfree) * bsize
}
