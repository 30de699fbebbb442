import { existsSync } from 'node:fs'
import { answersSignal } from '../lib/owner.ts'
import { readNames, tryReadLink, tryReadNames, tryReadText } from './read.ts'

/** Facts about processes, read from /proc. Each function returns undefined, or nothing, for a process that is gone. */

export interface ProcessFacts {
  readonly state: string
  readonly parent: number
  /** Clock ticks since boot. Pid, start time and boot id together identify a process uniquely. */
  readonly startTime: number
  readonly cpuTicks: number
  /** CPU ticks, with those of reaped descendants (cutime, cstime). */
  readonly treeTicks: number
  /** PF_EXITING, `include/linux/sched.h`. */
  readonly isExiting: boolean
}

const PF_EXITING = 0x4
/** SIGKILL among the pending signals of a thread: it runs no user instruction any more. */
const KILL_PENDING = 1 << 8

/** Boot id of the machine (`kernel.random.boot_id`); empty if it cannot be read. */
export function readBootId(): string {
  return tryReadText('/proc/sys/kernel/random/boot_id')?.trim() ?? ''
}

export function processFacts(pid: number): ProcessFacts | undefined {
  const text = tryReadText(`/proc/${pid}/stat`)
  if (!text) return undefined
  const fields = fieldsOf(text)
  return {
    state: fields[0] ?? 'X',
    parent: Number(fields[1]),
    cpuTicks: Number(fields[11]) + Number(fields[12]),
    treeTicks: [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0),
    startTime: Number(fields[19]),
    isExiting: (Number(fields[6]) & PF_EXITING) !== 0,
  }
}

/** Fields of /proc/PID/stat after the command name, which is in parentheses and may contain spaces and parentheses. */
function fieldsOf(stat: string): readonly string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/**
 * True if the process exists and is not a zombie. A process whose first thread has exited reads as a zombie while its
 * other threads run. Outside of Linux, which has no /proc, a pid is enough.
 */
export function isAlive(pid: number, startTime?: number): boolean {
  const facts = processFacts(pid)
  if (!facts && process.platform !== 'linux') return answersSignal(pid)
  if (!facts || (startTime ?? facts.startTime) !== facts.startTime) return false
  return !hasExited(facts.state) || someOtherThread(pid, isTaskThere)
}

/** True for the state letter of a task that has exited, and without one. */
function hasExited(state: string | undefined): boolean {
  return !state || state === 'Z' || state === 'X'
}

/** Rounds over the threads of a process: each may have exited before it is read, while another was started. */
const ROUNDS_MAX = 8

/**
 * True if a thread besides the first fits, and of a process whose threads go on to start one another and exit. Costs a
 * read for each.
 */
function someOtherThread(pid: number, fits: (pid: number, thread: string) => boolean): boolean {
  // A thread that does not fit has exited, or its file may not be read: it is not asked again.
  const asked = new Set([String(pid)])
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const others = threadsOf(pid).filter((thread) => !asked.has(thread))
    if (others.length === 0) return false
    for (const thread of others) {
      asked.add(thread)
      if (fits(pid, thread)) return true
    }
  }
  return true
}

function isTaskThere(pid: number, thread: string): boolean {
  return !hasExited(threadStateOf(pid, thread))
}

/** Pids of those that are alive. */
export function livingOf(processes: readonly ProcessIdentity[]): readonly number[] {
  return processes.flatMap(({ pid, startTime }) => (isAlive(pid, startTime) ? [pid] : []))
}

/**
 * True if the process is gone, a zombie or in exit(2) (PF_EXITING): it runs no user instruction any more. False if only
 * its first thread has exited. Outside of Linux a pid is enough.
 */
export function isExiting(pid: number, startTime?: number): boolean {
  const facts = factsOf(pid, startTime)
  if (!facts) return process.platform === 'linux' || !answersSignal(pid)
  return isEnding(facts) && !someOtherThread(pid, runsOn)
}

/** The same of its first thread alone: others may run on, or be about to see that the whole process ends. */
export function isFirstThreadExiting(pid: number, startTime?: number): boolean {
  const facts = factsOf(pid, startTime)
  return !facts || isEnding(facts)
}

function isEnding(facts: ProcessFacts): boolean {
  return facts.isExiting || hasExited(facts.state)
}

/** Facts of a process, and not of another that has its pid by now. */
function factsOf(pid: number, startTime: number | undefined): ProcessFacts | undefined {
  const facts = processFacts(pid)
  return startTime === undefined || facts?.startTime === startTime ? facts : undefined
}

/** True for a thread that is neither gone, nor in exit(2), nor about to be there because its whole process ends. */
function runsOn(pid: number, thread: string): boolean {
  const fields = fieldsOf(tryReadText(`/proc/${pid}/task/${thread}/stat`) ?? '')
  const [flags, pending] = [Number(fields[6]), Number(fields[28])]
  return !hasExited(fields[0]) && (flags & PF_EXITING) === 0 && (pending & KILL_PENDING) === 0
}

/** Children of a process that this thread forked, by default its first one. */
export function childrenOf(pid: number, thread: number | string = pid): readonly number[] {
  const text = tryReadText(`/proc/${pid}/task/${thread}/children`)
  return text ? text.trim().split(' ').filter(Boolean).map(Number) : []
}

/** Name of a process (`comm`), of a zombie too; empty if it is gone. */
export function nameOfProcess(pid: number): string {
  return tryReadText(`/proc/${pid}/comm`)?.trimEnd() ?? ''
}

/** Run-queue wait of its threads in milliseconds (/proc/PID/schedstat); 0 if the kernel does not count it. */
export function waitedMsOf(pid: number): number {
  const waited = threadsOf(pid).map((thread) => {
    const text = tryReadText(`/proc/${pid}/task/${thread}/schedstat`)
    return Number(text?.split(' ')[1] ?? 0)
  })
  return waited.reduce((sum, ns) => sum + ns, 0) / 1e6
}

/** State letter of a thread; `X` if it is gone. */
export function threadStateOf(pid: number, thread: string): string {
  return fieldsOf(tryReadText(`/proc/${pid}/task/${thread}/stat`) ?? '')[0] || 'X'
}

/** Wait channel of a thread (/proc/PID/task/TID/wchan); empty, or `0`, on a kernel that hides it. */
export function waitChannelOf(pid: number, thread: string): string {
  return tryReadText(`/proc/${pid}/task/${thread}/wchan`) ?? ''
}

/** Thread ids of a process; empty without /proc. */
export function threadsOf(pid: number): readonly string[] {
  return tryReadNames(`/proc/${pid}/task`)
}

/** File that a process executes; undefined if /proc may not be read, or if the process is gone. */
export function executableOf(pid: number): string | undefined {
  return tryReadLink(`/proc/${pid}/exe`)
}

/** Open descriptors of a process; none if /proc may not be read. */
export function descriptorsOf(pid: number): readonly string[] {
  return tryReadNames(`/proc/${pid}/fd`)
}

/** Resident memory of a process in bytes, with its page tables and what of it is swapped out. */
export function processBytes(pid: number): number {
  const text = statusOf(pid)
  return (kibIn(text, 'VmRSS') + besideKib(text)) * 1024
}

/**
 * Memory in KiB that the resident size leaves out. Page tables: a program that reads one byte of each 2 MiB of a mapping
 * has 4 KiB of them for each, and the page of zeros that it reads does not count as resident.
 */
export function besideKib(status: string): number {
  return kibIn(status, 'VmPTE') + kibIn(status, 'VmSwap')
}

/** Text of /proc/PID/status, of a thread that has its memory; empty if the process is gone. */
export function statusOf(pid: number): string {
  return readWithMemory(pid, 'status', (text) => text.includes('\nVmRSS:'))
}

/** Text of /proc/PID/smaps_rollup, of a thread that has its memory; empty if the process is gone, or without that file. */
export function rollupOf(pid: number): string {
  hasRollup ??= existsSync('/proc/self/smaps_rollup')
  return hasRollup ? readWithMemory(pid, 'smaps_rollup', (text) => text !== '') : ''
}

/** Whether the kernel makes that file; otherwise each thread of each process would be asked for it. */
let hasRollup: boolean | undefined

/**
 * Text of a file of a process, or of its first thread whose text `tells` its memory. The files of the process are those of
 * its first thread, which may have exited: it has no memory then, while the others run on.
 */
function readWithMemory(pid: number, file: string, tells: (text: string) => boolean): string {
  const own = tryReadText(`/proc/${pid}/${file}`) ?? ''
  if (tells(own)) return own
  let told: string | undefined
  someOtherThread(pid, (_pid, thread) => {
    const text = tryReadText(`/proc/${pid}/task/${thread}/${file}`) ?? ''
    if (tells(text)) told = text
    return told !== undefined
  })
  return told ?? own
}

/** Number of a line of /proc/PID/status, or of a file like it; `missing` if there is no such line. */
export function kibIn(text: string, name: string, missing = 0): number {
  const at = text.indexOf(`\n${name}:`)
  return at < 0 ? missing : Number.parseInt(text.slice(at + name.length + 2), 10)
}

/** Anonymous bytes (RssAnon), with page tables and what is swapped out: neither files nor shared memory. */
export function anonymousBytes(pid: number): number {
  const text = statusOf(pid)
  return (kibIn(text, 'RssAnon') + besideKib(text)) * 1024
}

/** Proportional set size in bytes: shared pages divided by their users. Costs a walk over the page tables. */
export function proportionalBytes(pid: number): number {
  const kb = /^Pss:\s+(\d+) kB/m.exec(rollupOf(pid))?.[1]
  return kb ? Number(kb) * 1024 : 0
}

/** Every process that belongs to `uid` and is alive. */
export function processesOf(uid: number): readonly number[] {
  return (scanOwners().get(uid) ?? []).filter((pid) => isAlive(pid))
}

let lastScan:
  | { readonly at: number; readonly owners: ReadonlyMap<number, readonly number[]> }
  | undefined

/**
 * Processes of `uid`, from a scan no older than `notBefore` (`performance.now()`): concurrent callers share one scan of
 * /proc, which costs milliseconds on a machine with many processes.
 */
export function processesSince(uid: number, notBefore: number): readonly number[] {
  if (!lastScan || lastScan.at < notBefore)
    lastScan = { at: performance.now(), owners: scanOwners() }
  // A pid of an earlier scan may have been reused.
  const found = lastScan.owners.get(uid) ?? []
  return found.filter((pid) => uidsOf(pid).includes(uid) && isAlive(pid))
}

/** Every process of this machine. */
export function allPids(): readonly number[] {
  return readNames('/proc').map(Number).filter(Number.isInteger)
}

function scanOwners(): ReadonlyMap<number, readonly number[]> {
  const owned = allPids().flatMap((pid) => [...new Set(uidsOf(pid))].map((uid) => ({ uid, pid })))
  const byUid = Map.groupBy(owned, ({ uid }) => uid)
  return new Map([...byUid].map(([uid, of]) => [uid, of.map(({ pid }) => pid)]))
}

/** Real, effective, saved and file system uid, from `status`: the folder of an undumpable process belongs to root. */
export function uidsOf(pid: number): readonly number[] {
  return statusField(pid, 'Uid').map(Number)
}

/** Values of a field of /proc/PID/status; none once the process has ended. */
export function statusField(pid: number, name: string): readonly string[] {
  const text = tryReadText(`/proc/${pid}/status`) ?? ''
  return new RegExp(`^${name}:\\t(.*)$`, 'm').exec(text)?.[1]?.split('\t') ?? []
}

/** Number of uids that this process's user namespace maps from 0 on; 4,294,967,295 in the initial one. */
export function mappedUids(): number {
  return uidsIn(tryReadText('/proc/self/uid_map') ?? '')
}

/**
 * Number of contiguous uids from 0 in a map; that of a rootless container has two lines, its user's own uid and its
 * range.
 */
export function uidsIn(map: string): number {
  const lines = map
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
  return lines
    .map(([inside = NaN, , count = 0]) => ({ inside, count }))
    .toSorted((a, b) => a.inside - b.inside)
    .reduce((known, { inside, count }) => (inside === known ? known + count : known), 0)
}

/**
 * Pids among `pids` that have the socket of this inode open. Reads at most `linksOfOneMax` descriptors of a process and
 * `linksMax` in total; later processes are not searched.
 */
export function holdersOf(
  pids: readonly number[],
  inode: number,
  linksMax: number,
): readonly number[] {
  const name = `socket:[${inode}]`
  let left = linksMax
  return pids.filter((pid) => {
    if (left <= 0) return false
    const links = descriptorsOf(pid).slice(0, Math.min(left, linksOfOneMax))
    left -= Math.max(1, links.length)
    return links.some((fd) => tryReadLink(`/proc/${pid}/fd/${fd}`) === name)
  })
}

const linksOfOneMax = 256

/** Identity of a process: pids are reused, a pid with its start time is not. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks since boot (field 22 of /proc/PID/stat); 0 of a process that is gone. */
  readonly startTime: number
}

export function identify(pid: number): ProcessIdentity {
  return { pid, startTime: processFacts(pid)?.startTime ?? 0 }
}
