import { callClasses, type CallClass } from '../../../contract/calls.ts'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { answersOf, nameOfCall } from '../../../jail/sentinel-policy.ts'
import type { ProcessWall } from './process-wall.ts'
import type { CallPhase, SystemCallReport, ClosedCallsState } from '../../../contract/warden.ts'
import type { ReportedCall } from './sentinel-wire.ts'

/**
 * Closes classes of system calls while the program runs: files, sockets, programs, processes. Nothing reopens them.
 * Resolves when the classes of phases that have begun are closed. Throws MayflyError UNAVAILABLE if the wall has no
 * sentinel, or if the sentinel does not confirm: the caller must then end the wall.
 */
export async function closeCalls(
  wall: ProcessWall,
  phases: readonly CallPhase[],
): Promise<ClosedCallsState> {
  const { id, resources, calls } = wall
  const { sentinel } = resources
  if (!sentinel)
    throw new MayflyError('UNAVAILABLE', `Cannot close calls of wall "${id}": it has no sentinel`, {
      hint: 'Install a C compiler, so that Mayfly can make one',
    })
  const { allowed, planned } = await sentinel.flip(phases)
  await closeProcesses(wall, allowed)
  const isHeld = phases
    .filter(({ afterMs }) => afterMs === 0)
    .every(({ allow }) => allowed.every((name) => allow.includes(name)))
  const isAsked = phases.every(({ allow }) =>
    callClasses.every((name) => allow.includes(name) || calls.includes(name)),
  )
  if (isHeld && isAsked) return { allowed, planned, answers: answersOf(allowed) }
  throw new MayflyError(
    'UNAVAILABLE',
    `Cannot close calls of wall "${id}": the sentinel did not confirm`,
  )
}

/**
 * Closes fork and clone. With a pids cgroup the sentinel has already lowered its bound. The sentinel also reports each
 * change by an event, so two callers may close the same wall concurrently: both wait until the bound is in force, or
 * get its error.
 */
export async function closeProcesses(
  wall: ProcessWall,
  allowed: readonly CallClass[],
): Promise<void> {
  if (allowed.includes('process')) return
  wall.resources.forkClosed ??= closeFork(wall)
  await wall.resources.forkClosed
}

async function closeFork(wall: ProcessWall): Promise<void> {
  // Later bounds on processes are ignored.
  wall.resources.forbidsFork = true
  const { forbidFork } = await import('./tighten.ts')
  await forbidFork(wall)
}

/** Message to the server about a call. */
export function describeCall({
  call,
  verdict,
  t,
  monotonic,
  pid,
  class: name,
  writes,
  leftOut,
  wrote,
  path,
}: ReportedCall): SystemCallReport {
  const beside = path === undefined ? {} : { path }
  const denied = verdict === 'denied'
  return {
    t,
    monotonic,
    pid,
    call: nameOfCall(call),
    class: name,
    denied,
    writes,
    leftOut,
    ...(wrote !== undefined && { wrote }),
    ...beside,
  }
}

/** Reason why this machine refuses a sentinel that it could compile. */
export function whyRefused(error: unknown): string {
  return `this machine does not let it look into walls (${messageOf(error)})`
}
