import { MayflyError, messageOf } from '../contract/error.ts'
import { nameOfCall } from '../jail/sentinel-policy.ts'
import type { Live } from './live.ts'
import type { CallPhase, CallSeen, CallsHeld } from './protocol.ts'
import type { SeenCall } from './sentinel-wire.ts'

/**
 * Closes classes of system calls while the program runs: files, sockets, programs, processes. What is closed is closed
 * for good, and what is due is closed when this resolves. Throws MayflyError UNAVAILABLE where the wall has no
 * sentinel, or where it does not say that it holds; then the wall is no longer what was promised.
 */
export async function closeCalls(
  { id, taken }: Live,
  phases: readonly CallPhase[],
): Promise<CallsHeld> {
  const { sentinel } = taken
  if (!sentinel)
    throw new MayflyError('UNAVAILABLE', `Cannot close calls of wall "${id}": it has no sentinel`, {
      hint: 'Install a C compiler, so that Mayfly can make one',
    })
  const { allowed, planned } = await sentinel.flip(phases)
  const isHeld = phases
    .filter(({ afterMs }) => afterMs === 0)
    .every(({ allow }) => allowed.every((name) => allow.includes(name)))
  if (isHeld) return { allowed, planned }
  throw new MayflyError('UNAVAILABLE', `Cannot close calls of wall "${id}": they stay open`)
}

/** What the server is told of a call. */
export function told({
  call,
  verdict,
  t,
  pid,
  class: name,
  writes,
  leftOut,
  path,
}: SeenCall): CallSeen {
  const beside = path === undefined ? {} : { path }
  const denied = verdict === 'denied'
  return { t, pid, call: nameOfCall(call), class: name, denied, writes, leftOut, ...beside }
}

/** Why a machine that could make a sentinel cannot use one. */
export function whyRefused(error: unknown): string {
  return `this machine does not let it look into walls (${messageOf(error)})`
}
