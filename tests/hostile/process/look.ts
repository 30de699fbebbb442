import { readFileSync, readdirSync } from 'node:fs'
import { descendantsOf, rssOf } from '../proc.ts'

/** What the host sees of processes: all of it from /proc, none of it from them. */

/** Clock ticks a second: fixed for user space on Linux. */
const TICK_MS = 10

/** All that a process may be changed in by another: whether it runs, priority, limits, processors, names. */
export function lookOf(pid: number): string {
  const stat = read(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const state = fields[0] ?? ''
  const living = 'SRD'.includes(state) && state !== '' ? 'alive' : state
  // priority, nice, then (from the end) real-time priority and policy
  const order = [15, 16, 37, 38].map((at) => fields[at])
  const allowed = /^Cpus_allowed:.*$/m.exec(read(`/proc/${pid}/status`))?.[0]
  const adjusted = read(`/proc/${pid}/oom_score_adj`)
  return [living, ...order, allowed, adjusted, read(`/proc/${pid}/limits`)].join(' ')
}

/** Processes with `word` in their command line. */
export function commandsWith(word: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && read(`/proc/${pid}/cmdline`).includes(word))
}

export interface TreeSize {
  readonly bytes: number
  readonly processes: number
}

export function sizeOfTree(pid: number): TreeSize {
  const all = [pid, ...descendantsOf(pid)]
  const bytes = all.reduce((sum, one) => sum + proportionalBytesOf(one), 0)
  return { bytes, processes: all.length }
}

/** Milliseconds that a process, those below it, and those of them that ended have used. */
export function cpuOfTree(pid: number): number {
  return [pid, ...descendantsOf(pid)].reduce((sum, one) => {
    const stat = read(`/proc/${one}/stat`)
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const ticks = [11, 12, 13, 14].map((at) => Number(fields[at] ?? 0))
    return sum + ticks.reduce((a, b) => a + b, 0) * TICK_MS
  }, 0)
}

/** Proportional memory: what is shared is divided among those who share it. Resident, where one may not look. */
function proportionalBytesOf(pid: number): number {
  const found = /^Pss:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/smaps_rollup`))
  return found ? Number(found[1]) * 1024 : (rssOf(pid) ?? 0)
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
