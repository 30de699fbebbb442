import { callClasses, classesToClose, isNarrower, type CallClass } from '../contract/calls.ts'
import type { Control, Controls } from '../contract/controls.ts'
import type { Profile } from '../contract/profile.ts'
import type { Emitter, Event, Point } from '../contract/event.ts'
import type { WardenClient } from './client.ts'
import type { ProcessReport, SeenReport, SystemCallReport, Wall } from '../contract/warden.ts'
import { usualCalls } from './program-spares.ts'

/** Whether a wall has a sentinel, so that its system calls are controls. */
export function hasSentinel({ layers }: Wall): boolean {
  return layers.includes('sentinel')
}

/**
 * Call classes that a wall's sentinel answers: execs, classes that a phase of this life closes, and opens if the life
 * reports opened files or reacts to an anomaly of medium severity. Other calls cost nothing and are never interrupted.
 */
export function callsFor({
  controls,
  schedule,
}: Pick<Profile, 'controls' | 'schedule'>): readonly CallClass[] {
  const courses = [schedule, ...Object.values(schedule.zones ?? {})]
  const phases = courses.flatMap((course) => course.phases)
  const closed = new Set(phases.flatMap((phase) => classesToClose(controls, phase.controls)))
  const reacts = courses.some(({ onAnomaly }) => onAnomaly.medium !== 'record')
  const isLooked = reacts || schedule.observeFiles === true
  const asked = (name: CallClass) =>
    usualCalls.includes(name) || (isLooked && name === 'outside') || closed.has(name)
  return callClasses.filter(asked)
}

/**
 * Controls in force after a tightening. A sentinel cannot enforce a subset of folders: any narrowing closes all file
 * access. Classes that it does not answer in this wall stay as they were.
 */
export function heldByCalls(
  before: Controls,
  next: Controls,
  asked: readonly CallClass[],
): Pick<Controls, 'files' | 'syscalls'> {
  const heldOf = (name: CallClass, was: readonly string[], is: readonly string[]) =>
    asked.includes(name) && isNarrower(was, is) ? [] : was
  const stay = callClasses.filter((name) => !asked.includes(name) && isOpen(name, before.syscalls))
  return {
    syscalls: next.syscalls === 'any' ? 'any' : [...new Set([...next.syscalls, ...stay])].sort(),
    files: {
      read: heldOf('outside', before.files.read, next.files.read),
      write: heldOf('write', before.files.write, next.files.write),
    },
  }
}

function isOpen(name: CallClass, syscalls: Controls['syscalls']): boolean {
  return syscalls === 'any' || syscalls.includes(name)
}

/** Controls that can be closed in a wall whose sentinel answers these classes. */
export function closableBy(asked: readonly CallClass[]): readonly Control[] {
  return asked.length === callClasses.length ? ['files', 'syscalls'] : []
}

/** Resolution of a file's times: a tick of the slowest kernel (HZ=100), by which a change may look older than it is. */
const tickMs = 10
/** Call reports buffered before the release; further ones are dropped. */
const earlyMax = 1_000

/**
 * Emits `seen/*` events for the system calls of a program, from its release on; reports of an agent inside the guest
 * have trust `guest`. Call reports and the release arrive over different channels, so reports are buffered until
 * `released`. The time of the release (CLOCK_MONOTONIC, in milliseconds) separates calls of the runner, which are
 * dropped, from calls of the job. An exec is always the job's, because the runner executes no program.
 */
export function reportCalls(parts: {
  readonly warden: Pick<WardenClient, 'onCall'>
  readonly wall: string
  readonly run: string
  readonly emitter: Emitter
  /** Paths of programs that come with the job and are written just before its release. */
  readonly brought?: readonly string[]
  /** Called for each event that the guest itself reports: the event stream forwards only trusted events to a life. */
  readonly onGuestEvent?: (point: Point, fields: Event['fields']) => void
}): { released(atMs: number): void } {
  const { warden, wall, run, emitter, brought = [], onGuestEvent } = parts
  const early: SeenReport[] = []
  let releasedAt: number | undefined

  function report(seen: SeenReport): void {
    if (releasedAt === undefined) return void (early.length < earlyMax && early.push(seen))
    const isCall = 'call' in seen
    if (isCall && seen.monotonic < releasedAt && seen.class !== 'exec') return
    const [point, fields] = isCall ? callEvent(seen, releasedAt, brought) : endEvent(seen)
    emitter.emit(point, fields, { run, zone: 'main', ...(seen.trust ? agent : sentinel) })
    if (seen.trust) onGuestEvent?.(point, fields)
  }

  warden.onCall(wall, report)
  return {
    released(atMs) {
      releasedAt = atMs
      early.splice(0).forEach(report)
    },
  }
}

const sentinel = { trust: 'wall', actor: 'sentinel' } as const
const agent = { trust: 'guest', actor: 'agent' } as const

function endEvent({ t, pid, leftOut, exitCode, signal, outOfMemory }: ProcessReport) {
  const about = { t, ...(leftOut > 0 && { leftOut }) }
  if (outOfMemory !== undefined) return ['seen/oom', { times: outOfMemory, ...about }] as const
  const end = signal === undefined ? { exitCode } : { signal }
  return ['seen/exit', { pid, ...end, ...about }] as const
}

/** Point and fields of the event of one call report. */
function callEvent(seen: SystemCallReport, releasedAt: number, brought: readonly string[]) {
  const { class: name, call, path, denied, writes, pid, t, leftOut, wrote } = seen
  const by = { pid, t, ...(leftOut > 0 && { leftOut }) }
  // A memfd is no file of the wall's root: the job wrote it.
  const since = releasedAt - (path !== undefined && brought.includes(path) ? 0 : tickMs)
  const isOwn = path?.startsWith('/memfd:') || (wrote !== undefined && wrote >= since)
  const written = isOwn && { written: true }
  if (name === 'exec' && path !== undefined)
    return ['seen/exec', { path, denied, ...by, ...written }] as const
  if (path !== undefined)
    return ['seen/open', { path, access: writes ? 'write' : 'read', denied, ...by }] as const
  return ['seen/syscall', { class: name, call, count: 1, denied, ...by }] as const
}
