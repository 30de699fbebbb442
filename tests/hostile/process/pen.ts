import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * cgroups that let the test survive its own corpus if nothing else contains it, in either version. Far wider
 * than the bounds of a wall, so that exceeding those is still seen.
 */
export interface Pen extends AsyncDisposable {
  /** `cgroup.procs` files; writing a pid enters the group. */
  readonly doors: readonly string[]
  readonly pids: () => readonly number[]
  readonly processes: () => number
  readonly peakBytes: () => number
  readonly cpuMs: () => number
}

const MOUNT = '/sys/fs/cgroup'
const bytesMax = 1_600 * 2 ** 20
const processesMax = 400
const endTriesMax = 100
const controllers = ['memory', 'pids', 'cpu', 'cpuacct'] as const
let made = 0

/** Undefined if this user cannot create cgroups. */
export function makePen(): Pen | undefined {
  const name = `hostile-${process.pid}-${made++}`
  try {
    return existsSync(path.join(MOUNT, 'cgroup.controllers')) ? unified(name) : separate(name)
  } catch {
    return undefined
  }
}

function separate(name: string): Pen {
  const at = (controller: string, file = ''): string => path.join(MOUNT, controller, name, file)
  for (const controller of controllers) mkdirSync(at(controller), { recursive: true })
  writeFileSync(at('memory', 'memory.limit_in_bytes'), `${bytesMax}`)
  writeFileSync(at('pids', 'pids.max'), `${processesMax}`)
  const pids = (): readonly number[] => numbersIn(at('pids', 'cgroup.procs'))
  return {
    doors: controllers.map((controller) => at(controller, 'cgroup.procs')),
    pids,
    processes: () => numbersIn(at('pids', 'pids.current'))[0] ?? 0,
    peakBytes: () => numbersIn(at('memory', 'memory.max_usage_in_bytes'))[0] ?? 0,
    cpuMs: () => (numbersIn(at('cpuacct', 'cpuacct.usage'))[0] ?? 0) / 1e6,
    [Symbol.asyncDispose]: () =>
      end(
        pids,
        controllers.map((controller) => at(controller)),
      ),
  }
}

function unified(name: string): Pen {
  const folder = path.join(MOUNT, name)
  const at = (file: string): string => path.join(folder, file)
  mkdirSync(folder, { recursive: true })
  writeFileSync(at('memory.max'), `${bytesMax}`)
  writeFileSync(at('pids.max'), `${processesMax}`)
  const pids = (): readonly number[] => numbersIn(at('cgroup.procs'))
  return {
    doors: [at('cgroup.procs')],
    pids,
    processes: () => numbersIn(at('pids.current'))[0] ?? 0,
    peakBytes: () => numbersIn(at('memory.peak'))[0] ?? 0,
    cpuMs: () => Number(/usage_usec (\d+)/.exec(readFileSync(at('cpu.stat'), 'utf8'))?.[1]) / 1e3,
    [Symbol.asyncDispose]: () => end(pids, [folder]),
  }
}

/** Kills only processes inside, all of which this test started. */
async function end(pids: () => readonly number[], folders: readonly string[]): Promise<void> {
  for (let tries = 0; tries < endTriesMax && pids().length > 0; tries++) {
    for (const pid of pids()) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {}
    }
    await sleep(20)
  }
  await sleep(20)
  for (const folder of folders) {
    try {
      rmdirSync(folder)
    } catch {}
  }
}

function numbersIn(file: string): readonly number[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number)
  } catch {
    return []
  }
}
