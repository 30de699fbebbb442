import { callClasses, type CallClass } from '../../../contract/calls.ts'
import type { EnclosureBounds, EnclosureSpec } from '../../../contract/engine.ts'
import type { Wall } from '../../../contract/warden.ts'
import type { JailCommand } from '../../../jail/embedded.ts'
import { attempt } from '../../../lib/attempt.ts'
import { lowerPriority, preferForOomKill } from '../../../os/priority.ts'
import { executableOf, identify, processBytes, type ProcessIdentity } from '../../../os/proc.ts'
import { wallTasksMax } from './bounds.ts'
import { takeListener } from './egress-listener.ts'
import { processesOfWall } from './members.ts'
import type { MemoryWatch } from './memory-watch.ts'
import { spentMs } from './cpu-time.ts'
import { ProcessHandles } from '../../../os/process-handles.ts'
import { bytesOf, ownBytesOf, tasksOf } from '../../../os/process-tree.ts'
import type { ProgramZones } from './program-zones.ts'
import { pidChainOf } from '../../readiness.ts'
import type { WallResources } from './resources.ts'
import { ScratchSpace } from './scratch-space.ts'

/** A wall of processes that is ready, with its resources and the state of its job. */
export interface ProcessWall extends Wall {
  readonly resources: WallResources
  /** Bytes of scratch. */
  readonly disk: number
  /** False if a test disables the memory watch. */
  readonly isWatched: boolean
  /** Bounds of its job; undefined before the first. */
  held: AppliedBounds | undefined
  /** Cgroup limit that was set in advance, and the job memory for which it was computed. */
  preset: { readonly memory: number; readonly groupMax: number } | undefined
  /** Handles of the processes that it had when it was ready. */
  readonly handles: ProcessHandles
  watch: MemoryWatch | undefined
  killsAtClaim: number
  /** Most tasks of its cgroup before its job or exec; Infinity if its peak says nothing about the bound. */
  tasksPeak: number
  /** Processes to which each of its processes is limited by rlimit; undefined before its first order to tighten. */
  tasksHeld: number | undefined
  /** Tasks that its bound had refused before the exec of its session. */
  tasksRefused: number
  /** File that its program executes before its job; undefined if /proc may not be read. */
  executable: string | undefined
  /** True if it was ended because its program closed the socket to the server and continued. */
  isMute: boolean
  /** Zones of its programs, if its job has any. */
  zones: ProgramZones | undefined
  /** CPU time in milliseconds before its job, and at the last read before its end. */
  spentBefore: number
  spentSeen: number
}

/** Requested bounds, and the memory limits derived from them, of its processes and of its cgroup, in bytes. */
export interface AppliedBounds extends EnclosureBounds {
  readonly residentMax: number
  readonly groupMax: number
}

/** Nice value of guests: warden and server have priority, because they enforce the bounds on a busy machine. */
const GUEST_NICE = 5

/** Finds the processes of a wall that has just become ready; returns the pid of the program. */
export function identifyProcesses(resources: WallResources, nested: boolean): number {
  const outermost = resources.child.pid!
  const chain = pidChainOf(outermost, nested)
  const pid = chain.at(-2) ?? outermost
  resources.processes = (resources.isWhole ? chain : [...new Set([pid, outermost])]).map(identify)
  // Children forked before the parent's oom_score_adj was set did not inherit it.
  for (const one of resources.processes) preferForOomKill(one.pid)
  return pid
}

/** Moves all processes of a wall into its cgroup, measures it before any instruction of a job, and describes it. */
export function settleWall(
  resources: WallResources,
  pid: number,
  to: {
    readonly spec: EnclosureSpec
    readonly command: JailCommand
    readonly isWatched: boolean
    /** Scratch folders, if each has a tmpfs of its own. */
    readonly scratchFolders?: readonly string[]
    /** Start of the request, on the monotonic clock. */
    readonly began: number
  },
): ProcessWall {
  const { spec, command } = to
  const { cgroup } = resources
  // A launcher that entered the cgroup itself is not moved again: an ordinary user may not move a process up the
  // hierarchy. A keeper stays outside: it ends the wall, so it must not be frozen or OOM-killed with it.
  const inside =
    resources.mark === undefined ? resources.processes : resources.processes.slice(0, -1)
  for (const one of inside) if (!cgroup?.holds(one.pid)) cgroup?.add(one.pid)
  cgroup?.limit({ pids: wallTasksMax })
  lowerPriority(pid, GUEST_NICE)
  if (resources.isWhole) resources.listenerFd = takeListener(pid, command.layers)
  if (resources.isWhole && resources.scratch === undefined)
    resources.space = ScratchSpace.open(
      pid,
      resources.slot?.uid ?? resources.uidOutside,
      to.scratchFolders,
    )
  if (resources.isWhole || spec.mechanism !== undefined)
    resources.idleTasks = tasksOf(countedFrom(resources).pid)
  // Start-up memory is not charged to the job.
  cgroup?.resetPeakMemory()
  const idle = processesOfWall(resources)
  if (resources.isWhole) resources.idleProcesses = idle.length
  if (resources.isWhole) resources.idleMemory = cgroup?.ownMemory().own ?? ownBytesOf(idle)
  const idleBytes = resources.isWhole ? bytesOf(idle) : processBytes(pid)
  return {
    ...describe(resources, pid, to),
    idleBytes,
    took: performance.now() - to.began,
    ...unheld(spec, to.isWatched, resources),
    executable: resources.isWhole ? executableOf(pid) : undefined,
  }
}

/** First process that a bound on tasks counts: RLIMIT_NPROC counts inside the user namespace, a cgroup also the outermost. */
function countedFrom({ cgroup, processes, mark }: WallResources): ProcessIdentity {
  return mark === undefined && cgroup?.controllers.includes('pids')
    ? processes.at(-1)!
    : processes[0]!
}

function describe(
  { id, cgroup, sentinel }: WallResources,
  pid: number,
  to: { readonly spec: EnclosureSpec; readonly command: JailCommand; readonly isWatched: boolean },
) {
  const { spec, command } = to
  return {
    id,
    program: spec.program,
    pid,
    mechanism: command.jailKind,
    layers: [
      ...command.layers,
      ...(cgroup ? ['memory cgroup'] : []),
      ...(to.isWatched ? ['memory watch'] : []),
    ],
    missing: [
      ...command.missing,
      ...(cgroup ? [] : ['memory cgroup: memory is held by a watch every 2 ms alone']),
    ],
    calls: sentinel ? classesFor(spec) : [],
    ...(spec.image !== undefined && { image: spec.image }),
  }
}

/** Call classes for the sentinel. `process` is closed by a bound on tasks instead, so none of its calls is notified. */
function classesFor({ calls = callClasses }: EnclosureSpec): readonly CallClass[] {
  return callClasses.filter((name) => name === 'process' || calls.includes(name))
}

function unheld(spec: EnclosureSpec, isWatched: boolean, resources: WallResources) {
  return {
    resources,
    disk: spec.disk ?? 0,
    isWatched,
    held: undefined,
    preset: undefined,
    handles: new ProcessHandles(resources.processes),
    watch: undefined,
    killsAtClaim: 0,
    tasksPeak: attempt(() => resources.cgroup?.tasks()?.peak) ?? 0,
    tasksHeld: undefined,
    tasksRefused: 0,
    isMute: false,
    zones: undefined,
    spentBefore: spentMs(resources),
    spentSeen: 0,
  }
}

/** Description of the wall for the server. */
export function wallOf({
  id,
  program,
  pid,
  mechanism,
  layers,
  missing,
  calls,
  image,
  idleBytes,
  took,
}: ProcessWall): Wall {
  const own = { id, program, pid, mechanism, layers, missing, calls, idleBytes, took }
  return image === undefined ? own : { ...own, image }
}
