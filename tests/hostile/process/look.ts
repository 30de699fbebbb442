import { readFileSync, readdirSync } from 'node:fs'
import { descendantsOf, rssOf } from '../proc.ts'

/** Host-side process facts, from /proc only. */

/** Clock ticks a second: fixed for user space on Linux. */
const TICK_MS = 10

/** State that another process may change: running state, priority, limits, affinity, name. */
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

/** CPU milliseconds of a process, its descendants, and reaped children. */
export function cpuOfTree(pid: number): number {
  return [pid, ...descendantsOf(pid)].reduce((sum, one) => {
    const stat = read(`/proc/${one}/stat`)
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const ticks = [11, 12, 13, 14].map((at) => Number(fields[at] ?? 0))
    return sum + ticks.reduce((a, b) => a + b, 0) * TICK_MS
  }, 0)
}

/** PSS: shared pages are divided among their users. RSS if smaps is unreadable. */
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
