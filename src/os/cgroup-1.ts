import { mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import type { Cgroup, CgroupLimits, CgroupRoot, Controller } from './cgroup-interface.ts'
import {
  countOf,
  cpuPeriodUs,
  forgottenIn,
  groupsFolder,
  groupLinesOf,
  groupsIn,
  heldBytes,
  isIn,
  isInNone,
  numberIn,
  ownBytes,
  processesBelow,
  processesIn,
  put,
  putBack,
  putSame,
  putText,
  quotaUs,
  removeBelow,
  removeFolder,
  taskCounts,
  textIn,
  tryPut,
  CpuWeight,
  WeightOfAll,
  weightAtStart,
} from './cgroup-files.ts'
import { OpenFileCache } from './open-file-cache.ts'

/**
 * cgroup v1: one hierarchy for each controller, so a group has a folder below `mayfly` in each of them.
 *
 * Problem: no file applies to all hierarchies, so a process is moved, and a group removed, in one after the other; the kernel
 * checks a CPU quota against those of parent and children at each write.
 *
 * Mechanism: a group is made in all its controllers before a process enters. Quota and period change with the quota lifted. A
 * frozen task cannot be killed in v1, so a group is thawed before it is removed and as its quota is lifted.
 *
 * Relies on: the memory controller. Not handled: a limit whose other controller is missing; it is not set.
 */
const FOLDERS: Readonly<Record<Controller, string>> = {
  memory: 'memory',
  pids: 'pids',
  cpu: 'cpu',
  cpuacct: 'cpuacct',
  freezer: 'freezer',
  io: 'blkio',
}
const ALL = Object.keys(FOLDERS) as readonly Controller[]
/** Charge batch of the kernel (MEMCG_CHARGE_BATCH, 64 pages). */
const CHARGED_AT_ONCE = 2 ** 18
/** TCP buffer limit of the wall (`kmem.tcp`, cgroup v1 only), accounted outside `memory.limit_in_bytes`. */
const socketsFile = 'memory.kmem.tcp.limit_in_bytes'
const SOCKET_BYTES_MAX = 16 * 2 ** 20
/** Kernel default of `cpu.shares`. */
const USUAL_SHARES = 1_024
/** `cpu.shares` of warden and server: eight times the default; they use little of it. */
const SHARES_OF_OWNERS = 8_192
const ownersSuffix = '-own'
/** Delay in milliseconds of moving the other threads: a short command ends before. */
const MOVE_MS = 1_000
/** `cpu.shares` of a wall that is being killed, ten times the default: enough against other walls, not against the machine. */
const SHARES_OF_THE_DYING = 10_240

export function openVersion1(
  mount: string,
  canMake: (folder: string) => boolean,
): CgroupRoot | undefined {
  const parent = (controller: Controller) => path.join(mount, FOLDERS[controller], groupsFolder)
  const controllers = ALL.filter((controller) => canMake(parent(controller)))
  if (!controllers.includes('memory')) return undefined
  // Child groups inherit it. With swap, a memory limit would not bound the memory that a wall uses.
  tryPut(parent('memory'), 'memory.swappiness', 0)
  // Without this, all walls together would get the shares of a single sibling group.
  const weighAll = (shares: number) => {
    if (controllers.includes('cpu'))
      tryPut(parent('cpu'), 'cpu.shares', shares * availableParallelism())
  }
  weighAll(USUAL_SHARES)
  const all = WeightOfAll.of(parent('cpu'), (isRaised) =>
    weighAll(isRaised ? SHARES_OF_THE_DYING : USUAL_SHARES),
  )
  const remove = (name: string) =>
    controllers.map((one) => removeBelow(path.join(parent(one), name))).every(Boolean)
  return {
    version: 1,
    controllers,
    list: () => groupsIn(parent('memory')),
    forgotten: (olderThanMs) => forgottenIn(parent('memory'), olderThanMs),
    processes: (name) => processesBelow(path.join(parent('memory'), name)),
    remove(name) {
      // A task frozen by cgroup v1 cannot die.
      if (controllers.includes('freezer'))
        tryPut(path.join(parent('freezer'), name), 'freezer.state', 'THAWED')
      return remove(name)
    },
    raisePriority(pid) {
      if (!controllers.includes('cpu') || !isInNone(groupLinesOf(pid), 'cpu')) return
      const folder = `${parent('cpu')}${ownersSuffix}`
      if (!canMake(folder)) return
      tryPut(folder, 'cpu.shares', SHARES_OF_OWNERS)
      const moveAll = () => tryPut(folder, 'cgroup.procs', pid)
      if (pid !== process.pid) return moveAll()
      // To move all threads takes a grace period of RCU, 6 to 15 ms; the own one needs none, and children are in its group.
      tryPut(folder, 'tasks', 0)
      setTimeout(moveAll, MOVE_MS).unref()
    },
    create(name, wanted = ALL) {
      const own = controllers.filter((one) => wanted.includes(one))
      return makeGroup(name, own, (one) => path.join(parent(one), name), all)
    },
  }
}

function makeGroup(
  name: string,
  controllers: readonly Controller[],
  folder: (controller: Controller) => string,
  all: WeightOfAll,
): Cgroup {
  for (const one of controllers) mkdirSync(folder(one), { recursive: true })
  if (controllers.includes('cpu')) put(folder('cpu'), 'cpu.cfs_period_us', cpuPeriodUs)
  // The kernel accounts TCP buffers of a group only once it has this limit.
  if (controllers.includes('memory')) tryPut(folder('memory'), socketsFile, SOCKET_BYTES_MAX)
  return groupOf(name, controllers, folder, all)
}

function groupOf(
  name: string,
  controllers: readonly Controller[],
  folder: (controller: Controller) => string,
  all: WeightOfAll,
): Cgroup {
  const has = (one: Controller) => controllers.includes(one)
  const inner = new Set<Cgroup>()
  const files = new OpenFileCache()
  const weight = weightIn(has('cpu') ? folder('cpu') : undefined, name, all)
  let isRemoved = false
  const thaw = () => {
    if (has('freezer')) tryPut(folder('freezer'), 'freezer.state', 'THAWED')
  }
  return {
    name,
    controllers,
    below(own) {
      const place = (one: Controller) => path.join(folder(one), own)
      const group = makeGroup(`${name}/${own}`, controllers, place, all)
      inner.add(group)
      return group
    },
    add(pid) {
      for (const one of controllers) put(folder(one), 'cgroup.procs', pid)
    },
    entryFiles: () => controllers.map((one) => path.join(folder(one), 'tasks')),
    holds(pid) {
      const lines = groupLinesOf(pid)
      return controllers.every((one) => isIn(lines, FOLDERS[one], name))
    },
    limit: (to) => limit(to, { has, folder, weight, files }),
    rank: (rank) => weight.rank(rank),
    weighStart(as) {
      weight.forget()
      if (has('cpu')) tryPut(folder('cpu'), 'cpu.shares', USUAL_SHARES * weightAtStart[as])
    },
    ...memoryOf(folder('memory'), files),
    cpuMs: () =>
      has('cpuacct') ? Number(files.read(folder('cpuacct'), 'cpuacct.usage')) / 1e6 : undefined,
    processes: () => [folder('memory'), ...inner].flatMap(processesOf),
    freeze: () => put(folder('freezer'), 'freezer.state', 'FROZEN'),
    isFrozen: () => textIn(folder('freezer'), 'freezer.state').trim() === 'FROZEN',
    thaw,
    liftCpuQuota() {
      // A late call would count a wall that is gone among the dying ones for ever.
      if (isRemoved) return
      for (const group of inner) group.liftCpuQuota()
      thaw()
      if (!has('cpu')) return
      all.die(name)
      weight.forget()
      for (const [file, value] of quotaLifts) tryPut(folder('cpu'), file, value)
    },
    quotaLifts: () =>
      has('cpu') ? quotaLifts.map(([file, value]) => `${folder('cpu')}/${file}:${value}`) : [],
    tasks: () => (has('pids') ? taskCounts(folder('pids')) : undefined),
    pidsFile: () => (has('pids') ? path.join(folder('pids'), 'pids.max') : undefined),
    remove() {
      files.close()
      for (const group of inner) if (group.remove()) inner.delete(group)
      if (inner.size > 0) return false
      if (!controllers.map((one) => removeFolder(folder(one))).every(Boolean)) return false
      all.forget(name)
      isRemoved = true
      return true
    },
  }
}

const quotaLifts = [
  ['cpu.cfs_quota_us', -1],
  ['cpu.idle', 0],
  ['cpu.shares', SHARES_OF_THE_DYING],
] as const

function memoryOf(folder: string, files: OpenFileCache) {
  return {
    memoryNow: () => heldBytes(files, folder, { all: 'memory.usage_in_bytes', files: 'cache' }),
    ownMemory: () => ownBytes(files, folder, { own: 'total_rss', shared: 'total_shmem' }),
    resetPeakMemory: () => tryPut(folder, 'memory.max_usage_in_bytes', 0),
    memoryKills: () => countOf(files.read(folder, 'memory.oom_control'), 'oom_kill'),
    hasBeenFull() {
      const [peak, most] = ['max_usage_in_bytes', 'limit_in_bytes'].map((file) =>
        numberIn(folder, `memory.${file}`),
      )
      return peak! + CHARGED_AT_ONCE >= most!
    },
  }
}

function processesOf(one: string | Cgroup): readonly number[] {
  return typeof one === 'string' ? processesIn(one) : one.processes()
}

interface GroupParts {
  readonly has: (controller: Controller) => boolean
  readonly folder: (controller: Controller) => string
  readonly weight: CpuWeight
  readonly files: OpenFileCache
}

function limit(to: CgroupLimits, parts: GroupParts): void {
  const { has, folder, files } = parts
  if (to.memory !== undefined) putBack(files, folder('memory'), 'memory.limit_in_bytes', to.memory)
  if (to.pids !== undefined && has('pids')) putBack(files, folder('pids'), 'pids.max', to.pids)
  if (to.cpu !== undefined && has('cpu')) limitCpu(to.cpu, parts)
  if (to.io && has('io')) limitIo(folder('io'), to.io)
}

function weightIn(folder: string | undefined, name: string, all: WeightOfAll): CpuWeight {
  return new CpuWeight({ name, folder, file: 'cpu.shares', usual: USUAL_SHARES, all })
}

function limitCpu(cores: number, { folder: folderOf, weight, files }: GroupParts): void {
  const folder = folderOf('cpu')
  weight.limit(cores)
  if (cores === Infinity) return putSame(files, folder, 'cpu.cfs_quota_us', '-1')
  const { quota, period } = quotaUs(cores)
  if (Number(files.read(folder, 'cpu.cfs_period_us')) !== period) {
    // The kernel checks quota / period against parent and children at each write (EINVAL). Lifting the quota first keeps
    // the ratio valid while both change.
    put(folder, 'cpu.cfs_quota_us', -1)
    putSame(files, folder, 'cpu.cfs_period_us', `${period}`)
  }
  putSame(files, folder, 'cpu.cfs_quota_us', `${quota}`)
}

function limitIo(folder: string, { bytes, devices }: NonNullable<CgroupLimits['io']>): void {
  for (const device of devices)
    for (const direction of ['read', 'write']) {
      const holds = new RegExp(`^${device} ${bytes}$`, 'm')
      putText(folder, `blkio.throttle.${direction}_bps_device`, `${device} ${bytes}`, holds)
    }
}
