import { execFile, execFileSync } from 'node:child_process'
import { attempt } from '../lib/attempt.ts'

/**
 * Facts of processes by ps(1), for a system without /proc. A read costs a process start, some milliseconds, so callers share
 * and space them. Relies on the keywords of POSIX and `rss`, `lstart` of BSD, which Linux has too.
 */
export interface ProcessReading {
  readonly pid: number
  /** Resident bytes. */
  readonly bytes: number
  /** CPU time in milliseconds; ps of macOS counts hundredths of a second, that of Linux whole seconds. */
  readonly cpuMs: number
  /** Start time as text, in seconds: with the pid it identifies a process. */
  readonly started: string
}

const PS = '/bin/ps'
const MS_MAX = 5_000
const LINE = /^\s*(\d+)\s+(\d+)\s+(?:(\d+)-)?([\d:.]+)\s+(\S.*?)\s*$/
const SECONDS = { minute: 60, day: 86_400 } as const
const KIB = 1024
const options = { encoding: 'utf8', env: { LC_ALL: 'C', TZ: 'UTC' }, timeout: MS_MAX } as const

/** Readings of those processes that exist. Rejects with Error if ps cannot be run, or takes 5 s. */
export async function readProcesses(pids: readonly number[]): Promise<readonly ProcessReading[]> {
  return await new Promise((resolve, reject) => {
    execFile(PS, argumentsFor(pids), options, (error, stdout) => {
      // ps exits with 1 if there is none of them.
      if (error && error.code !== 1) reject(error)
      else resolve(readingsIn(stdout))
    })
  })
}

/** Reading of one process, for a moment at which the event loop may wait; undefined if there is none. */
export function readProcess(pid: number): ProcessReading | undefined {
  const text = attempt(() =>
    execFileSync(PS, argumentsFor([pid]), { ...options, stdio: ['ignore', 'pipe', 'ignore'] }),
  )
  return text === undefined ? undefined : readingsIn(text)[0]
}

const KEYWORDS = ['pid', 'rss', 'time', 'lstart'].flatMap((keyword) => ['-o', `${keyword}=`])
const argumentsFor = (pids: readonly number[]) => [...KEYWORDS, '-p', pids.join()]

/** Parses lines of `pid rss [[dd-]hh:]mm:ss[.cc] lstart`. */
export function readingsIn(text: string): readonly ProcessReading[] {
  return text.split('\n').flatMap((line) => {
    const [, pid, kib, days = '0', time = '', started = ''] = LINE.exec(line) ?? []
    if (pid === undefined) return []
    const seconds = time.split(':').reduce((sum, part) => sum * SECONDS.minute + Number(part), 0)
    const cpuMs = Math.round((Number(days) * SECONDS.day + seconds) * 1000)
    return [{ pid: Number(pid), bytes: Number(kib) * KIB, cpuMs, started }]
  })
}
