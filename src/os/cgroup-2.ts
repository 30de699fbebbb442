import { mkdirSync } from 'node:fs'
import path from 'node:path'
import type { Cgroup, CgroupLimits, CgroupRoot, Controller } from './cgroup.ts'
import {
  countIn,
  cpuPeriodUs,
  groupsFolder,
  groupsIn,
  numberIn,
  processesIn,
  put,
  putBack,
  putText,
  quotaUs,
  removeFolder,
  textIn,
  tryPut,
} from './cgroup-files.ts'

/** Version 2: one folder a group, whatever controllers the root hands down. Counting and freezing need none. */
const HANDED_DOWN = ['memory', 'pids', 'cpu', 'io'] as const
/** The kernel's highest weight. */
const WEIGHT_OF_THE_DYING = 10_000

export function openVersion2(
  mount: string,
  canMake: (folder: string) => boolean,
): CgroupRoot | undefined {
  const parent = path.join(mount, groupsFolder)
  if (!canMake(parent)) return undefined
  const offered = textIn(parent, 'cgroup.controllers').trim().split(' ')
  const handed = HANDED_DOWN.filter((name) => offered.includes(name))
  if (!handed.includes('memory')) return undefined
  put(parent, 'cgroup.subtree_control', handed.map((name) => `+${name}`).join(' '))
  const controllers = [...handed, 'cpuacct', 'freezer'] as const
  return {
    version: 2,
    controllers,
    list: () => groupsIn(parent),
    processes: (name) => processesIn(path.join(parent, name)),
    remove: (name) => removeFolder(path.join(parent, name)),
    create(name) {
      const folder = path.join(parent, name)
      mkdirSync(folder, { recursive: true })
      return groupOf(name, controllers, folder)
    },
  }
}

function groupOf(name: string, controllers: readonly Controller[], folder: string): Cgroup {
  const has = (one: Controller) => controllers.includes(one)
  return {
    name,
    controllers,
    add: (pid) => put(folder, 'cgroup.procs', pid),
    limit: (to) => limit(folder, to, has),
    memoryNow: () => numberIn(folder, 'memory.current'),
    memoryKills: () => countIn(folder, 'memory.events', 'oom_kill'),
    cpuMs: () => countIn(folder, 'cpu.stat', 'usage_usec') / 1000,
    processes: () => processesIn(folder),
    freeze: () => put(folder, 'cgroup.freeze', 1),
    isFrozen: () => countIn(folder, 'cgroup.events', 'frozen') === 1,
    thaw: () => tryPut(folder, 'cgroup.freeze', 0),
    hurry() {
      tryPut(folder, 'cgroup.freeze', 0)
      if (!has('cpu')) return
      tryPut(folder, 'cpu.max', `max ${cpuPeriodUs}`)
      tryPut(folder, 'cpu.weight', WEIGHT_OF_THE_DYING)
    },
    lifts: () => [
      `${folder}/cgroup.freeze:0`,
      ...(has('cpu')
        ? [`${folder}/cpu.max:max ${cpuPeriodUs}`, `${folder}/cpu.weight:${WEIGHT_OF_THE_DYING}`]
        : []),
    ],
    remove: () => removeFolder(folder),
  }
}

function limit(folder: string, to: CgroupLimits, has: (controller: Controller) => boolean): void {
  if (to.memory !== undefined) {
    putBack(folder, 'memory.max', to.memory)
    tryPut(folder, 'memory.swap.max', 0)
  }
  if (to.pids !== undefined && has('pids')) putBack(folder, 'pids.max', to.pids)
  if (to.cpu !== undefined && has('cpu')) limitCpu(folder, to.cpu)
  if (to.io && has('io')) limitIo(folder, to.io)
}

function limitCpu(folder: string, cores: number): void {
  const quota = cores === Infinity ? 'max' : `${quotaUs(cores)}`
  const max = `${quota} ${cpuPeriodUs}`
  putText(folder, 'cpu.max', max, new RegExp(`^${max}\\s*$`))
}

function limitIo(folder: string, { bytes, devices }: NonNullable<CgroupLimits['io']>): void {
  for (const device of devices) {
    const bounds = `rbps=${bytes} wbps=${bytes}`
    putText(folder, 'io.max', `${device} ${bounds}`, new RegExp(`^${device} ${bounds}\\b`, 'm'))
  }
}
