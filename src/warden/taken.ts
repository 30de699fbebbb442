import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { MayflyError } from '../contract/error.ts'
import type { JailCommand } from '../jail/embedded.ts'
import { reopen, type SentinelProgram } from '../jail/sentinel.ts'
import { handOverFd, sentinelDataFd } from '../jail/whole.ts'
import type { Cgroup } from '../os/cgroup.ts'
import { isAlive, processesOf } from '../os/proc.ts'
import { goFirst, niceOf, setNice } from './come-first.ts'
import { userHasProcesses } from '../os/libc.js'
import { named, type Leases, type Named } from './lease.ts'
import { dropListener } from './listener.ts'
import { listenTo } from './ready.ts'
import { markPlace } from '../jail/bubblewrap.ts'
import { markOf } from './orphans.ts'
import { makeScratch, removeScratch } from './scratch.ts'
import { Sentinel } from './sentinel.ts'
import type { Slot } from './slots.ts'
import { belowOf } from './tree.ts'

/** What is taken for a wall, from the first moment on, and given back when nothing of it is left. */
export interface Taken {
  readonly id: string
  readonly slot: Slot | undefined
  readonly child: ChildProcess
  /** Whole programs may start others; a worker may not. */
  readonly isWhole: boolean
  /** The last that it said on stderr: V8's own words when it gave up. */
  readonly complaint: () => string
  /** A folder of its own, where it could have no root of its own. */
  readonly scratch: string | undefined
  /** Answers those of its calls that depend on its phase. */
  readonly sentinel: Sentinel | undefined
  /** Why nothing can come of it, where not all of it could be started. */
  readonly broken: unknown
  cgroup: Cgroup | undefined
  /** The first of its namespace before the program itself; the outermost last. */
  processes: readonly Named[]
  /** Our copy of the socket that listens inside, until somebody claims it. */
  listenerFd: number | undefined
  /** Processes and threads it is made of before any job. */
  idleTasks: number
  /** Processes alone. */
  idleProcesses: number
  /** Bytes that are its own before its job, where a group counts them. */
  idleMemory: number
  isFrozen: boolean
  /** No process and no thread is started in it any more, whatever bound is asked for later. */
  startsNone: boolean
}

/** Where a wall has its sockets. A worker speaks by one; whole programs have both outputs as well. */
const WORKER = { socket: 3, ready: 4 } as const
const WHOLE = { socket: 5, ready: 4 } as const
const FILTER_FD = 5
const KILL_POLL_MS = 2
const KILL_POLLS_MAX = 1000
const LOOK_AT_ALL_EVERY = 8
/** A process that does not die of SIGKILL is stuck in the kernel; its uid is not given to another wall meanwhile. */
const STUCK_POLL_MS = 500
/** What waits for its child to be over gets this long to see it, and to reap it, before it is killed too. */
const REAP_MS_MAX = 200

/** Starts the process. What fails after it is `broken`, not thrown: whoever has it has to give it back. */
export function take(
  id: string,
  command: JailCommand,
  to: Pick<Taken, 'slot' | 'isWhole' | 'scratch' | 'cgroup'>,
  program?: SentinelProgram,
): Taken {
  if (to.scratch) makeScratch(id, to.slot?.uid)
  const data = command.asks === 'data' && program ? reopen(program) : undefined
  const { file, args } = through(to.cgroup?.doors() ?? [], command)
  // A child of bubblewrap is not bound to it from its first moment on.
  const marked = args.map((word) => (word === markPlace ? markOf(id) : word))
  const child = spawn(file, marked, {
    cwd: '/',
    env: {},
    stdio: stdioOf(command, to.isWhole, data),
    // setsid: Ctrl-C, or a signal to the group of the warden, does not reach what runs inside before it has drained.
    detached: true,
  })
  // Told in a later turn, and otherwise the end of whoever holds every other wall.
  child.on('error', () => undefined)
  // At once, while it has one thread: what it starts, and every thread of it, gets its priority and not ours.
  if (child.pid !== undefined) {
    setNice(child.pid, niceOf.wall)
    goFirst(child.pid)
  }
  if (data !== undefined) closeSync(data)
  const processes = child.pid === undefined ? [] : [named(child.pid)]
  const complaint = listenTo(child)
  const set = setUp(child, command, to, program)
  const later = {
    listenerFd: undefined,
    idleTasks: 0,
    idleProcesses: 1,
    idleMemory: 0,
    isFrozen: false,
    startsNone: false,
  }
  return { id, ...to, child, ...set, complaint, processes, ...later }
}

function setUp(
  child: ChildProcess,
  command: JailCommand,
  to: Pick<Taken, 'slot' | 'cgroup'>,
  program?: SentinelProgram,
): Pick<Taken, 'sentinel' | 'broken'> {
  try {
    // Node makes no streams at all where it has no descriptors for them.
    if (!Array.isArray(child.stdio)) throw outOfDescriptors()
    if (command.filter) feed(child, command.filterFd ?? FILTER_FD, command.filter)
    const sentinel = program && command.asks ? setBeside(child, to, program) : undefined
    return { sentinel, broken: undefined }
  } catch (error) {
    return { sentinel: undefined, broken: error }
  }
}

/** What is started needs descriptors of whoever starts it. */
export function outOfDescriptors(): MayflyError {
  return new MayflyError('OVERLOADED', 'Cannot start a wall: no file descriptors are left', {
    hint: 'Allow Mayfly more open files ("ulimit -n"), or run fewer jobs at once',
  })
}

function setBeside(
  child: ChildProcess,
  { slot, cgroup }: Pick<Taken, 'slot' | 'cgroup'>,
  program: SentinelProgram,
): Sentinel | undefined {
  if (child.pid === undefined) return undefined
  const handed = (child.stdio as unknown as Socket[])[handOverFd]!
  const [lifts, pidsFile] = [cgroup?.lifts() ?? [], cgroup?.pidsFile()]
  return new Sentinel({ program, handed, uid: slot?.uid, lifts, pidsFile })
}

/**
 * What is started comes into the group by itself, before it becomes anything else. Launchers ignore signals to stop
 * (execve keeps that): systemd's KillMode=control-group sends them SIGTERM too, and the wall would be lost before it
 * drained. Node and guest/process/python.py restore the defaults, so that user code finds none ignored.
 */
const SHELL = '/bin/sh'
const COME_IN = `trap '' TERM INT HUP; until [ "$1" = -- ]; do echo 0 > "$1" || exit; shift; done; shift; exec "$@"`

/** Without a shell it is moved once it has started, which takes its time. */
function through(doors: readonly string[], { file, args }: JailCommand) {
  if (!existsSync(SHELL)) return { file, args }
  return { file: SHELL, args: ['-c', COME_IN, 'sh', ...doors, '--', file, ...args] }
}

/** The end of a wall's own sockets, to be handed on and forgotten here. */
export function handOn({ child, isWhole }: Taken) {
  const stdio = child.stdio as unknown as (Socket | null)[]
  const taken = (fd: number) => {
    const socket = stdio[fd]!
    // Node resumes what it still finds there when the child ends, whoever has it by then.
    stdio[fd] = null
    return socket
  }
  if (!isWhole) return { socket: stdio[WORKER.socket]!, streams: undefined }
  // It flows on: whoever listens next hears what comes next.
  stdio[2]!.removeAllListeners('data')
  return { socket: taken(WHOLE.socket), streams: { stdout: taken(1), stderr: taken(2) } }
}

/** The innermost first: what waits for it then reaps it, and leaves no zombie to whoever is process 1. */
export function kill(taken: Taken): void {
  const { child, cgroup, isWhole } = taken
  const [inner, ...outer] = taken.processes
  if (inner && isAlive(inner.pid, inner.startTime)) {
    if (outer.length === 0) killTree(inner.pid)
    else signalAll([inner.pid, ...(isWhole ? processesOfWall(taken) : [])], 'SIGKILL')
  }
  // Nothing of it reaches another instruction; at its quota it would take seconds to find out.
  cgroup?.hurry()
  if (outer.length > 0) setTimeout(() => child.kill('SIGKILL'), REAP_MS_MAX).unref()
}

/** Of what is about to become a tree: a pass that finds somebody new is followed by another. */
const TREE_PASSES_MAX = 20

/**
 * While a launcher is at work, its child may be waiting for a word from it, not yet bound to die with it. So all of
 * them are stopped first, and none is killed before none is new.
 */
function killTree(root: number): void {
  const known = new Set<number>()
  for (let pass = 0; pass < TREE_PASSES_MAX; pass++) {
    const fresh = [root, ...belowOf(root)].filter((pid) => !known.has(pid))
    if (fresh.length === 0) break
    signalAll(fresh, 'SIGSTOP')
    for (const pid of fresh) known.add(pid)
  }
  signalAll([...known].toReversed(), 'SIGKILL')
}

/** Kills what is left of it, and gives back group, uid and lease when that is nothing. */
export async function giveBack(taken: Taken, leases: Leases | undefined): Promise<void> {
  dropListener(taken)
  kill(taken)
  taken.sentinel?.close()
  const isLeft = () => taken.processes.some(({ pid, startTime }) => isAlive(pid, startTime))
  let polls = 0
  const isBusy = () => isLeft() || taken.cgroup?.remove() === false || hasOthers(taken.slot, polls)
  const isBusyAtAll = () => (polls++, isBusy())
  for (; polls < KILL_POLLS_MAX && isBusy(); polls++) await pause(KILL_POLL_MS)
  if (taken.scratch) await removeScratch(taken.id)
  if (isBusy()) whenFree(isBusyAtAll, () => taken.slot?.release())
  else taken.slot?.release()
  if (!isLeft()) leases?.remove(taken.id)
}

/** The first process and the program, without whoever waits for them outside. */
export function insideOf({ processes }: Taken): readonly number[] {
  return (processes.length > 1 ? processes.slice(0, -1) : processes).map(({ pid }) => pid)
}

/**
 * Every process of it, whoever started it, without whoever waits for them outside; in a control group also what has no
 * way to its first process.
 */
export function processesOfWall({ cgroup, processes }: Taken): readonly number[] {
  const [first, outermost] = [processes[0]?.pid, processes.at(-1)?.pid]
  if (!cgroup) return first === undefined ? [] : [first, ...belowOf(first)]
  return cgroup.processes().filter((pid) => pid === first || pid !== outermost)
}

/** Without the one that only waits, adopts and passes on the exit: it runs nothing of the job's. */
export function guestsIn({ processes }: Taken, pids: readonly number[]): readonly number[] {
  return processes.length > 2 ? pids.filter((pid) => pid !== processes[0]!.pid) : pids
}

export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // Gone already.
    }
  }
}

/** A wall's uid is its own, so whatever has it is the wall's, wherever it hid. */
function hasOthers(slot: Slot | undefined, polls: number): boolean {
  if (!slot || !userHasProcesses(slot.uid)) return false
  // Its sentinel has that uid too and ends by itself; a look at all of /proc costs milliseconds on a busy machine.
  if (polls % LOOK_AT_ALL_EVERY !== LOOK_AT_ALL_EVERY - 1) return true
  const left = processesOf(slot.uid)
  signalAll(left, 'SIGKILL')
  return left.length > 0
}

function whenFree(isBusy: () => boolean, release: () => void): void {
  const look = setInterval(() => {
    if (isBusy()) return
    clearInterval(look)
    release()
  }, STUCK_POLL_MS)
  look.unref()
}

type Stdio = 'ignore' | 'pipe' | number

function stdioOf(
  { filter, filterFd = FILTER_FD, asks }: JailCommand,
  isWhole: boolean,
  data: number | undefined,
): Stdio[] {
  const stdio: Stdio[] = isWhole
    ? ['ignore', 'pipe', 'pipe', 'ignore', 'pipe', 'pipe']
    : ['ignore', 'ignore', 'pipe', 'pipe', 'pipe']
  if (!filter) return stdio
  while (stdio.length < filterFd) stdio.push('ignore')
  stdio.push('pipe')
  if (asks) stdio[handOverFd] = 'pipe'
  if (data !== undefined) stdio[sentinelDataFd] = data
  return Array.from(stdio, (one) => one ?? 'ignore')
}

/** A launcher that ends before it has read its filter breaks the pipe; its end is what is told. */
function feed(child: ChildProcess, fd: number, filter: Buffer): void {
  const pipe = (child.stdio as unknown as Socket[])[fd]!
  pipe.on('error', () => undefined)
  pipe.end(filter)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
