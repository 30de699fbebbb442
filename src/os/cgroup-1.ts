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

/** Version 1: a tree for each controller, each with a folder of its own for a group. */
const FOLDERS: Readonly<Record<Controller, string>> = {
  memory: 'memory',
  pids: 'pids',
  cpu: 'cpu',
  cpuacct: 'cpuacct',
  freezer: 'freezer',
  io: 'blkio',
}
const ALL = Object.keys(FOLDERS) as readonly Controller[]
/** Ten times what a group has by itself: what dies may crowd out the other walls, not the machine. */
const SHARES_OF_THE_DYING = 10_240

export function openVersion1(
  mount: string,
  canMake: (folder: string) => boolean,
): CgroupRoot | undefined {
  const parent = (controller: Controller) => path.join(mount, FOLDERS[controller], groupsFolder)
  const controllers = ALL.filter((controller) => canMake(parent(controller)))
  if (!controllers.includes('memory')) return undefined
  // What is made below has it too: a bound on memory that can be swapped around is none.
  tryPut(parent('memory'), 'memory.swappiness', 0)
  const remove = (name: string) =>
    controllers.map((one) => removeFolder(path.join(parent(one), name))).every(Boolean)
  return {
    version: 1,
    controllers,
    list: () => groupsIn(parent('memory')),
    processes: (name) => processesIn(path.join(parent('memory'), name)),
    remove(name) {
      // Nothing that stands still can die here.
      if (controllers.includes('freezer'))
        tryPut(path.join(parent('freezer'), name), 'freezer.state', 'THAWED')
      return remove(name)
    },
    create(name, wanted = ALL) {
      const own = controllers.filter((one) => wanted.includes(one))
      for (const one of own) mkdirSync(path.join(parent(one), name), { recursive: true })
      if (own.includes('cpu')) put(path.join(parent('cpu'), name), 'cpu.cfs_period_us', cpuPeriodUs)
      return groupOf(name, own, (one) => path.join(parent(one), name))
    },
  }
}

function groupOf(
  name: string,
  controllers: readonly Controller[],
  folder: (controller: Controller) => string,
): Cgroup {
  const has = (one: Controller) => controllers.includes(one)
  const thaw = () => {
    if (has('freezer')) tryPut(folder('freezer'), 'freezer.state', 'THAWED')
  }
  return {
    name,
    controllers,
    add(pid) {
      for (const one of controllers) put(folder(one), 'cgroup.procs', pid)
    },
    limit: (to) => limit(to, has, folder),
    memoryNow: () => numberIn(folder('memory'), 'memory.usage_in_bytes'),
    memoryKills: () => countIn(folder('memory'), 'memory.oom_control', 'oom_kill'),
    cpuMs: () => (has('cpuacct') ? numberIn(folder('cpuacct'), 'cpuacct.usage') / 1e6 : undefined),
    processes: () => processesIn(folder('memory')),
    freeze: () => put(folder('freezer'), 'freezer.state', 'FROZEN'),
    isFrozen: () => textIn(folder('freezer'), 'freezer.state').trim() === 'FROZEN',
    thaw,
    hurry() {
      thaw()
      if (!has('cpu')) return
      tryPut(folder('cpu'), 'cpu.cfs_quota_us', -1)
      tryPut(folder('cpu'), 'cpu.shares', SHARES_OF_THE_DYING)
    },
    lifts: () =>
      has('cpu')
        ? [
            `${folder('cpu')}/cpu.cfs_quota_us:-1`,
            `${folder('cpu')}/cpu.shares:${SHARES_OF_THE_DYING}`,
          ]
        : [],
    remove: () => controllers.map((one) => removeFolder(folder(one))).every(Boolean),
  }
}

function limit(
  to: CgroupLimits,
  has: (controller: Controller) => boolean,
  folder: (controller: Controller) => string,
): void {
  if (to.memory !== undefined) putBack(folder('memory'), 'memory.limit_in_bytes', to.memory)
  if (to.pids !== undefined && has('pids')) putBack(folder('pids'), 'pids.max', to.pids)
  if (to.cpu !== undefined && has('cpu')) limitCpu(folder('cpu'), to.cpu)
  if (to.io && has('io')) limitIo(folder('io'), to.io)
}

function limitCpu(folder: string, cores: number): void {
  if (cores === Infinity) return put(folder, 'cpu.cfs_quota_us', -1)
  const quota = `${quotaUs(cores)}`
  putText(folder, 'cpu.cfs_quota_us', quota, new RegExp(`^${quota}\\s*$`))
}

function limitIo(folder: string, { bytes, devices }: NonNullable<CgroupLimits['io']>): void {
  for (const device of devices)
    for (const way of ['read', 'write']) {
      const holds = new RegExp(`^${device} ${bytes}$`, 'm')
      putText(folder, `blkio.throttle.${way}_bps_device`, `${device} ${bytes}`, holds)
    }
}
