import type { KillCause, TaskEnd } from '../contract/provider.ts'
import { closedSocketDetail, type LimitUse } from '../contract/warden.ts'
import { present } from '../lib/present.ts'
import type { HandleEnd } from './handle.ts'

/** End of a task whose wall ended first: by the cause of the kill, else as the warden reports it (`memory` includes an OOM kill). */
export function endOfWall(end: HandleEnd, cause: KillCause | undefined): TaskEnd {
  return { ...whyEnded(end, cause), cpuTime: end.exit?.cpuMs ?? 0 }
}

function whyEnded(end: HandleEnd, cause: KillCause | undefined): TaskEnd {
  const { how, detail } = end
  const lost = (status: TaskEnd['status'], code: string, message: string) =>
    lostEnd(status, code, message, end.peakBytes)
  if (cause?.status === 'limit')
    return lost('limit', cause.code, `The job was ended at its ${cause.code} limit`)
  if (cause?.status === 'terminated') return lost('terminated', 'TERMINATED', cause.reason)
  if (cause?.status === 'cancelled') return lost('cancelled', 'CANCELLED', messages.cancelled)
  // A bomb whose forks are refused runs on until its time is over.
  if ((cause || how === 'deadline') && end.limit === 'processes')
    return endAtLimit({ limit: 'processes' }, end.peakBytes)
  if (cause || how === 'deadline') return lost('timeout', 'TIMEOUT', messages.timeout)
  if (how === 'memory') return lost('limit', 'MEMORY', messages.memory)
  // The tail of its stderr (untrusted: user code may have written it).
  if (/out of memory|allocation failed/i.test(detail))
    return { ...lost('limit', 'MEMORY', messages.memory), isReported: true }
  if (how === 'processes' || how === 'disk') return endAtLimit({ limit: how }, end.peakBytes)
  if (how === 'pressure') return lost('failed', 'HOST_MEMORY', messages.pressure)
  if (detail === closedSocketDetail) return lost('error', 'EXIT', messages.closedSocket)
  if (how === 'garbled')
    return lost('error', 'PROTOCOL', `Cannot read a message of the wall: ${detail}`)
  return lost('failed', 'WALL_LOST', `The wall ended while the job ran (${detail})`)
}

const messages = {
  memory: 'The job used more memory than its limit',
  timeout: 'The job ran longer than its limit',
  cancelled: 'The job was cancelled',
  processes: 'The job had more processes than its limit',
  disk: 'The job wrote more than its limit',
  closedSocket: 'The program closed its socket to the server and continued',
  pressure:
    'The machine ran short of memory, and this job used much of it: run it again, or lower [server] jobs',
} as const

/** End at a limit that a kernel's counts show as used up; reported, if that kernel is the guest's. */
export function endAtLimit({ limit = 'disk', limitTrust }: LimitUse, peakBytes = 0): TaskEnd {
  const code = limit === 'disk' ? 'DISK' : 'PROCESSES'
  const end = lostEnd('limit', code, messages[limit], peakBytes)
  return limitTrust ? { ...end, isReported: true } : end
}

/** Texts of Python, Node and libc for a fork or thread that the kernel refused (EAGAIN). */
const REFUSED_FORK = /EAGAIN|Resource temporarily unavailable|can't start new thread|[Cc]annot fork/

/**
 * Limits that a failed program used up: those of the kernel's counts; and its processes, reported, if it says that it was refused one
 * and most of them were in use. None of code that does not parse: the scratch folders of a session stay full after the exec that filled them.
 */
export function limitsUsed<Use extends LimitUse>(
  used: Use,
  error: { readonly code?: string; readonly message: string } | undefined,
): Use | (Use & Required<Pick<LimitUse, 'limit' | 'limitTrust'>>) {
  if (error?.code === 'SYNTAX_ERROR') return { ...used, limit: undefined }
  if (used.limit || !used.nearTasks || !REFUSED_FORK.test(error?.message ?? '')) return used
  return { ...used, limit: 'processes', limitTrust: 'guest' }
}

/** The same for a program that ended by itself: with its exit code, or the signal that it died of. */
export function withOwnExit(
  limit: TaskEnd,
  { exitCode, signal }: { readonly [name in 'exitCode' | 'signal']?: TaskEnd[name] | undefined },
): TaskEnd {
  return { ...limit, ...present({ exitCode, signal }) }
}

/** End without a result and without known usage. */
export function lostEnd(
  status: TaskEnd['status'],
  code: string,
  message: string,
  peak: number,
): TaskEnd {
  const memory = peak > 0 ? { memory: { used: peak, peak } } : {}
  return {
    status,
    resultText: 'null',
    encoding: 'json',
    error: { code, message },
    cpuTime: 0,
    artifacts: [],
    ...memory,
  }
}

/**
 * End of a program whose process is gone without an `end` frame: a raw exit, an exec of another program, or a signal
 * that Mayfly did not send. Undefined where the warden, or the kernel at a limit, ended it. A session ends at the request of its
 * owner: a program that exits by itself, with whatever code, has failed it.
 */
export function endOfProgram(
  { how, exit, peakBytes }: HandleEnd,
  isSession = false,
): TaskEnd | undefined {
  if (how !== 'exit' || !exit) return undefined
  const { signal, exitCode } = exit
  const broken = (what: string) => lostEnd('error', 'EXIT', `The program ${what}`, peakBytes)
  if (signal !== null) return { ...broken(`was ended by ${signal}`), signal }
  if (exitCode === null) return broken('exited with null')
  if (exitCode !== 0 || isSession) return { ...broken(`exited with ${exitCode}`), exitCode }
  return {
    status: 'ok',
    resultText: 'null',
    encoding: 'json',
    exitCode: 0,
    cpuTime: exit.cpuMs ?? 0,
    artifacts: [],
  }
}
