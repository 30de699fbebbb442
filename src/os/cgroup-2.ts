import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import type { Cgroup, CgroupLimits, CgroupRoot, Controller } from './cgroup-interface.ts'
import {
  countIn,
  cpuPeriodUs,
  forgottenIn,
  groupsFolder,
  groupLinesOf,
  groupsIn,
  heldBytes,
  isIn,
  numberIn,
  ownBytes,
  processesBelow,
  processesIn,
  put,
  putBack,
  putText,
  quotaUs,
  removeBelow,
  removeFolder,
  textIn,
  tryPut,
  CpuWeight,
  WeightOfAll,
  weightAtStart,
} from './cgroup-files.ts'

/** cgroup v2: one folder for each group. Delegated controllers, where the root has them; counters and freezer need none. */
const HANDED_DOWN = ['memory', 'pids', 'cpu', 'io'] as const
/** Kernel default of `cpu.weight`. */
const USUAL_WEIGHT = 100
/** The kernel's highest weight. */
const WEIGHT_OF_THE_DYING = 10_000
const WEIGHT_OF_ALL_WHILE_ONE_DIES = 1_000

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
  // Unless the administrator has set another weight for all walls.
  let weight = USUAL_WEIGHT
  const all = WeightOfAll.of(parent, (isRaised) => {
    if (!handed.includes('cpu')) return
    if (isRaised) weight = weightOf(parent)
    tryPut(parent, 'cpu.weight', isRaised ? Math.max(weight, WEIGHT_OF_ALL_WHILE_ONE_DIES) : weight)
  })
  return {
    version: 2,
    controllers,
    list: () => groupsIn(parent),
    forgotten: (olderThanMs) => forgottenIn(parent, olderThanMs),
    processes: (name) => processesBelow(path.join(parent, name)),
    remove: (name) => removeBelow(path.join(parent, name)),
    // Not in cgroup v2: the cgroup of Mayfly's own processes is set by their parent, such as systemd.
    raisePriority: () => undefined,
    create(name) {
      const folder = path.join(parent, name)
      mkdirSync(folder, { recursive: true })
      return groupOf(name, controllers, folder, all)
    },
  }
}

function weightOf(folder: string): number {
  try {
    return numberIn(folder, 'cpu.weight')
  } catch {
    return USUAL_WEIGHT
  }
}

function groupOf(
  name: string,
  controllers: readonly Controller[],
  folder: string,
  all: WeightOfAll,
): Cgroup {
  const has = (one: Controller) => controllers.includes(one)
  const inner = new Set<Cgroup>()
  const weight = weightIn(has('cpu') ? folder : undefined, name, all)
  /** Processes live in leaf groups only ("no internal processes", cgroup v2): with child groups, in a sibling of these. */
  let place = folder
  return {
    name,
    controllers,
    below(own) {
      if (place === folder) place = makeLeaf(folder, controllers)
      const made = makeFolder(path.join(folder, own))
      const group = groupOf(`${name}/${own}`, controllers, made, all)
      inner.add(group)
      return group
    },
    add: (pid) => put(place, 'cgroup.procs', pid),
    entryFiles: () => [path.join(place, 'cgroup.procs')],
    holds: (pid) => isIn(groupLinesOf(pid), '', path.relative(path.dirname(folder), place)),
    limit: (to) => limit(folder, to, has, weight),
    rank: (rank) => weight.rank(rank),
    weighStart(as) {
      if (has('cpu')) tryPut(folder, 'cpu.weight', USUAL_WEIGHT * weightAtStart[as])
    },
    memoryNow: () => heldBytes(folder, { all: 'memory.current', files: 'file' }),
    ownMemory: () => ownBytes(folder, { own: 'anon', shared: 'shmem' }),
    resetPeakMemory: () => undefined,
    memoryKills: () =>
      new Set([folder, place]).values().reduce((sum, one) => sum + eventsIn(one, 'oom_kill'), 0),
    hasBeenFull: () => new Set([folder, place]).values().some((one) => eventsIn(one, 'oom') > 0),
    cpuMs: () => countIn(folder, 'cpu.stat', 'usage_usec') / 1000,
    processes: () => [...processesIn(place), ...[...inner].flatMap((one) => one.processes())],
    freeze: () => put(folder, 'cgroup.freeze', 1),
    isFrozen: () => countIn(folder, 'cgroup.events', 'frozen') === 1,
    thaw: () => tryPut(folder, 'cgroup.freeze', 0),
    liftCpuQuota() {
      for (const group of inner) group.liftCpuQuota()
      tryPut(folder, 'cgroup.freeze', 0)
      if (!has('cpu')) return
      all.die(name)
      tryPut(folder, 'cpu.max', `max ${cpuPeriodUs}`)
      tryPut(folder, 'cpu.idle', 0)
      tryPut(folder, 'cpu.weight', WEIGHT_OF_THE_DYING)
    },
    quotaLifts: () => [
      `${folder}/cgroup.freeze:0`,
      ...(has('cpu')
        ? [
            `${folder}/cpu.max:max ${cpuPeriodUs}`,
            `${folder}/cpu.idle:0`,
            `${folder}/cpu.weight:${WEIGHT_OF_THE_DYING}`,
          ]
        : []),
    ],
    pidsFile: () => (has('pids') ? path.join(folder, 'pids.max') : undefined),
    remove() {
      for (const group of inner) if (group.remove()) inner.delete(group)
      if (inner.size > 0 || (place !== folder && !removeFolder(place))) return false
      if (!removeFolder(folder)) return false
      all.forget(name)
      return true
    },
  }
}

const leaf = 'own'
/** Bound on retries: processes may fork while they are moved. */
const PASSES_MAX = 20

/** Moves all processes of a group into a new child group, so that controllers can be enabled for its children. */
function makeLeaf(folder: string, controllers: readonly Controller[]): string {
  const place = makeFolder(path.join(folder, leaf))
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    const left = processesIn(folder)
    if (left.length === 0) break
    for (const pid of left) tryPut(place, 'cgroup.procs', pid)
  }
  const handed = HANDED_DOWN.filter((one) => controllers.includes(one))
  put(folder, 'cgroup.subtree_control', handed.map((one) => `+${one}`).join(' '))
  return place
}

function makeFolder(folder: string): string {
  mkdirSync(folder, { recursive: true })
  return folder
}

/** Counter of this group alone (`.local`, Linux 5.2), or with the groups below on an older kernel. */
function eventsIn(folder: string, name: string): number {
  const files = ['memory.events.local', 'memory.events']
  const file = files.find((one) => existsSync(path.join(folder, one)))
  return file ? countIn(folder, file, name) : 0
}

function limit(
  folder: string,
  to: CgroupLimits,
  has: (controller: Controller) => boolean,
  weight: CpuWeight,
): void {
  if (to.memory !== undefined) {
    putBack(folder, 'memory.max', to.memory)
    tryPut(folder, 'memory.swap.max', 0)
  }
  if (to.pids !== undefined && has('pids')) putBack(folder, 'pids.max', to.pids)
  if (to.cpu !== undefined && has('cpu')) limitCpu(folder, to.cpu, weight)
  if (to.io && has('io')) limitIo(folder, to.io)
}

function weightIn(folder: string | undefined, name: string, all: WeightOfAll): CpuWeight {
  return new CpuWeight({ name, folder, file: 'cpu.weight', usual: USUAL_WEIGHT, all })
}

function limitCpu(folder: string, cores: number, weight: CpuWeight): void {
  weight.limit(cores)
  const { quota, period } = quotaUs(cores)
  const max = cores === Infinity ? `max ${cpuPeriodUs}` : `${quota} ${period}`
  putText(folder, 'cpu.max', max, new RegExp(`^${max}\\s*$`))
}

function limitIo(folder: string, { bytes, devices }: NonNullable<CgroupLimits['io']>): void {
  for (const device of devices) {
    const bounds = `rbps=${bytes} wbps=${bytes}`
    putText(folder, 'io.max', `${device} ${bounds}`, new RegExp(`^${device} ${bounds}\\b`, 'm'))
  }
}
