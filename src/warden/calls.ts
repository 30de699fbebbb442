import { callClasses, type CallClass } from '../contract/calls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import { answersOf, nameOfCall } from '../jail/sentinel-policy.ts'
import type { Live } from './live.ts'
import type { CallPhase, SystemCallReport, ClosedCallsState } from '../contract/warden.ts'
import type { SeenCall } from './sentinel-wire.ts'

/**
 * Closes classes of system calls while the program runs: files, sockets, programs, processes. What is closed is closed
 * for good, and what is due is closed when this resolves. Throws MayflyError UNAVAILABLE where the wall has no
 * sentinel, or where it does not say that it holds; then the wall is no longer what was promised.
 */
export async function closeCalls(
  live: Live,
  phases: readonly CallPhase[],
): Promise<ClosedCallsState> {
  const { id, taken, calls } = live
  const { sentinel } = taken
  if (!sentinel)
    throw new MayflyError('UNAVAILABLE', `Cannot close calls of wall "${id}": it has no sentinel`, {
      hint: 'Install a C compiler, so that Mayfly can make one',
    })
  const { allowed, planned } = await sentinel.flip(phases)
  await closeProcesses(live, allowed)
  const isHeld = phases
    .filter(({ afterMs }) => afterMs === 0)
    .every(({ allow }) => allowed.every((name) => allow.includes(name)))
  const isAsked = phases.every(({ allow }) =>
    callClasses.every((name) => allow.includes(name) || calls.includes(name)),
  )
  if (isHeld && isAsked) return { allowed, planned, answers: answersOf(allowed) }
  throw new MayflyError('UNAVAILABLE', `Cannot close calls of wall "${id}": they stay open`)
}

/** The sentinel has lowered the bound of the group already, where there is one. Idempotent. */
export async function closeProcesses(live: Live, allowed: readonly CallClass[]): Promise<void> {
  if (allowed.includes('process') || live.taken.startsNone) return
  // From here on no other bound is set over it.
  live.taken.startsNone = true
  const { startNone } = await import('./tighten.ts')
  await startNone(live)
}

/** What the server is told of a call. */
export function told({
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
}: SeenCall): SystemCallReport {
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

/** Why a machine that could make a sentinel cannot use one. */
export function whyRefused(error: unknown): string {
  return `this machine does not let it look into walls (${messageOf(error)})`
}
