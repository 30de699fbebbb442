import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { attempt } from '../lib/attempt.ts'
import type { Cgroup, CgroupLimits, CgroupRoot, Controller } from './cgroup-interface.ts'
import {
  countIn,
  countOf,
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
 * cgroup v2: a single hierarchy, so one folder for each group, below `mayfly`.
 *
 * Problem: a group that delegates controllers to children may hold no processes ("no internal processes"), and a wall gets
 * child groups (zones) while its processes run.
 *
 * Mechanism: controllers are delegated to walls once, by cgroup.subtree_control of `mayfly`. At its first child group a wall
 * moves its processes into a leaf beside the children, in passes, because processes fork meanwhile, and then delegates too.
 *
 * Relies on: the memory controller; all others may be missing. Not handled: processes that fork through all passes; the child
 * group fails then (EBUSY).
 */
/** Controllers to delegate, if the root has them; counters and freezer need none. */
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
  // Keeps a weight that the administrator has set for all walls.
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
  return attempt(() => numberIn(folder, 'cpu.weight')) ?? USUAL_WEIGHT
}

function groupOf(
  name: string,
  controllers: readonly Controller[],
  folder: string,
  all: WeightOfAll,
): Cgroup {
  const has = (one: Controller) => controllers.includes(one)
  const inner = new Set<Cgroup>()
  const files = new OpenFileCache()
  const weight = weightIn(has('cpu') ? folder : undefined, name, all)
  let isRemoved = false
  /** Processes live in leaf groups only ("no internal processes", cgroup v2): with child groups, in a sibling of these. */
  let place = folder
  const lifts: readonly (readonly [file: string, value: string | number])[] = [
    ['cgroup.freeze', 0],
    ...(has('cpu') ? cpuLifts : []),
  ]
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
    limit: (to) => limit(folder, to, { has, weight, files }),
    rank: (rank) => weight.rank(rank),
    weighStart(as) {
      weight.forget()
      if (has('cpu')) tryPut(folder, 'cpu.weight', USUAL_WEIGHT * weightAtStart[as])
    },
    ...memoryOf(folder, () => [...new Set([folder, place])], files),
    cpuMs: () => countOf(files.read(folder, 'cpu.stat'), 'usage_usec') / 1000,
    processes: () => [...processesIn(place), ...[...inner].flatMap((one) => one.processes())],
    freeze: () => put(folder, 'cgroup.freeze', 1),
    isFrozen: () => countIn(folder, 'cgroup.events', 'frozen') === 1,
    thaw: () => tryPut(folder, 'cgroup.freeze', 0),
    liftCpuQuota() {
      // A late call would count a wall that is gone among the dying ones for ever.
      if (isRemoved) return
      for (const group of inner) group.liftCpuQuota()
      if (has('cpu')) all.die(name)
      weight.forget()
      for (const [file, value] of lifts) tryPut(folder, file, value)
    },
    quotaLifts: () => lifts.map(([file, value]) => `${folder}/${file}:${value}`),
    tasks: () => (has('pids') ? taskCounts(folder) : undefined),
    pidsFile: () => (has('pids') ? path.join(folder, 'pids.max') : undefined),
    remove() {
      files.close()
      for (const group of inner) if (group.remove()) inner.delete(group)
      if (inner.size > 0 || (place !== folder && !removeFolder(place))) return false
      if (!removeFolder(folder)) return false
      all.forget(name)
      isRemoved = true
      return true
    },
  }
}

const cpuLifts = [
  ['cpu.max', `max ${cpuPeriodUs}`],
  ['cpu.idle', 0],
  ['cpu.weight', WEIGHT_OF_THE_DYING],
] as const

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

function memoryOf(folder: string, places: () => readonly string[], files: OpenFileCache) {
  return {
    memoryNow: () => heldBytes(files, folder, { all: 'memory.current', files: 'file' }),
    ownMemory: () => ownBytes(files, folder, { own: 'anon', shared: 'shmem' }),
    resetPeakMemory: () => undefined,
    memoryKills: () => places().reduce((sum, one) => sum + eventsIn(files, one, 'oom_kill'), 0),
    hasBeenFull: () => places().some((one) => eventsIn(files, one, 'oom') > 0),
  }
}

/** Counter of this group alone (`.local`, Linux 5.2), or with the groups below on an older kernel. */
function eventsIn(files: OpenFileCache, folder: string, name: string): number {
  const names = ['memory.events.local', 'memory.events']
  const file = names.find((one) => existsSync(path.join(folder, one)))
  return file ? countOf(files.read(folder, file), name) : 0
}

interface GroupParts {
  readonly has: (controller: Controller) => boolean
  readonly weight: CpuWeight
  readonly files: OpenFileCache
}

function limit(folder: string, to: CgroupLimits, { has, weight, files }: GroupParts): void {
  if (to.memory !== undefined && putBack(files, folder, 'memory.max', to.memory))
    tryPut(folder, 'memory.swap.max', 0)
  if (to.pids !== undefined && has('pids')) putBack(files, folder, 'pids.max', to.pids)
  if (to.cpu !== undefined && has('cpu')) {
    weight.limit(to.cpu)
    const { quota, period } = quotaUs(to.cpu)
    const max = to.cpu === Infinity ? `max ${cpuPeriodUs}` : `${quota} ${period}`
    putSame(files, folder, 'cpu.max', max)
  }
  if (to.io && has('io')) limitIo(folder, to.io)
}

function weightIn(folder: string | undefined, name: string, all: WeightOfAll): CpuWeight {
  return new CpuWeight({ name, folder, file: 'cpu.weight', usual: USUAL_WEIGHT, all })
}

function limitIo(folder: string, { bytes, devices }: NonNullable<CgroupLimits['io']>): void {
  for (const device of devices) {
    const bounds = `rbps=${bytes} wbps=${bytes}`
    putText(folder, 'io.max', `${device} ${bounds}`, new RegExp(`^${device} ${bounds}\\b`, 'm'))
  }
}
