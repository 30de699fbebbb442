import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Process facts from /proc. A dead process reads as undefined or zero. */

const PAGE_BYTES = 4096
/** Clock ticks a second: fixed for user space on Linux. */
const TICK_MS = 10
/** Maximum CPU time of a child process in one second, after hostile code. */
const burntMsMax = 300
/** Time to wait: a wall that is being made uses CPU for a moment, and a leftover loop uses it forever. */
const restTriesMax = 5

/** Resident bytes of a process, or undefined once it is gone. */
export function rssOf(pid: number): number | undefined {
  const pages = read(`/proc/${pid}/statm`)?.split(' ')[1]
  return pages === undefined ? undefined : Number(pages) * PAGE_BYTES
}

/** Milliseconds of cpu that a process has used; 0 once it is gone. */
export function cpuMsOf(pid: number): number {
  const [, , , , , , , , , , , user, system] = fieldsOf(pid)
  return (Number(user ?? 0) + Number(system ?? 0)) * TICK_MS
}

/** Last argument of its command line: for a Node process without arguments, its program. */
export function nameOf(pid: number): string {
  const words = read(`/proc/${pid}/cmdline`)?.split('\0').filter(Boolean) ?? []
  return basename(words.at(-1) ?? 'process that is gone')
}

/** All processes below one, itself excluded. Zombies count: they are leftovers too. */
export function descendantsOf(pid: number): readonly number[] {
  const below = childrenOf(pid)
  return [...below, ...below.flatMap(descendantsOf)]
}

/** Processes started below one since `before`, except below those that existed then: they may start more. */
export function begunBelow(pid: number, before: ReadonlySet<number>): readonly number[] {
  const begun = childrenOf(pid).filter((child) => !before.has(child))
  return [...begun, ...begun.flatMap((child) => begunBelow(child, before))]
}

function childrenOf(pid: number): readonly number[] {
  return list(`/proc/${pid}/task`).flatMap((task) =>
    (read(`/proc/${pid}/task/${task}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  )
}

/** Waits for a second in which no process below this one burns CPU. */
export async function restsAfterwards(): Promise<void> {
  let burnt = await burntInASecond()
  for (let tries = 1; tries < restTriesMax && burnt.length > 0; tries++)
    burnt = await burntInASecond()
  assert.deepEqual(burnt, [])
}

async function burntInASecond(): Promise<readonly string[]> {
  const before = descendantsOf(process.pid).map((pid) => [pid, cpuMsOf(pid)] as const)
  await sleep(1_000)
  return before
    .map(([pid, ms]) => [pid, cpuMsOf(pid) - ms] as const)
    .filter(([, burnt]) => burnt > burntMsMax)
    .map(([pid, burnt]) => `process ${pid}, ${nameOf(pid)}, burnt ${burnt} ms of a second`)
}

/** Fields of stat after the command, which may contain spaces; the first is the state. */
function fieldsOf(pid: number): readonly string[] {
  const stat = read(`/proc/${pid}/stat`) ?? ''
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
