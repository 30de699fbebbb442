import type { KillCause, TaskEnd } from '../contract/provider.ts'
import { closedSocketDetail } from '../contract/warden.ts'
import type { HandleEnd } from './handle.ts'

/** End of a task whose wall ended first: by the cause of the kill, else as the warden reports it. */
export function endOfWall(end: HandleEnd, cause: KillCause | undefined): TaskEnd {
  return { ...whyEnded(end, cause), cpuTime: end.exit?.cpuMs ?? 0 }
}

function whyEnded(end: HandleEnd, cause: KillCause | undefined): TaskEnd {
  const peak = end.peakBytes
  if (cause?.status === 'limit')
    return lostEnd('limit', cause.code, `The job was ended at its ${cause.code} limit`, peak)
  if (cause?.status === 'terminated') return lostEnd('terminated', 'TERMINATED', cause.reason, peak)
  if (cause)
    return lostEnd(
      cause.status,
      cause.status === 'timeout' ? 'TIMEOUT' : 'CANCELLED',
      messages[cause.status],
      peak,
    )
  if (end.how === 'deadline') return lostEnd('timeout', 'TIMEOUT', messages.timeout, peak)
  if (end.how === 'memory') return lostEnd('limit', 'MEMORY', messages.memory, peak)
  // The tail of its stderr (untrusted: user code may have written it).
  if (/out of memory|allocation failed/i.test(end.detail))
    return { ...lostEnd('limit', 'MEMORY', messages.memory, peak), isReported: true }
  if (end.how === 'processes')
    return lostEnd('limit', 'PROCESSES', 'The job had more processes than its limit', peak)
  if (end.how === 'disk') return lostEnd('limit', 'DISK', 'The job wrote more than its limit', peak)
  if (end.how === 'pressure') return lostEnd('failed', 'HOST_MEMORY', messages.pressure, peak)
  if (end.detail === closedSocketDetail)
    return lostEnd(
      'error',
      'EXIT',
      'The program closed its socket to the server and continued',
      peak,
    )
  if (end.how === 'garbled')
    return lostEnd('error', 'PROTOCOL', `Cannot read a message of the wall: ${end.detail}`, peak)
  return lostEnd('failed', 'WALL_LOST', `The wall ended while the job ran (${end.detail})`, peak)
}

const messages = {
  memory: 'The job used more memory than its limit',
  timeout: 'The job ran longer than its limit',
  cancelled: 'The job was cancelled',
  pressure:
    'The machine ran short of memory, and this job used much of it: run it again, or lower [server] jobs',
} as const

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
 * that Mayfly did not send. Undefined where the warden, or the kernel at a limit, ended it.
 */
export function endOfProgram({ how, exit, peakBytes }: HandleEnd): TaskEnd | undefined {
  if (how !== 'exit' || !exit) return undefined
  const { signal, exitCode } = exit
  if (signal !== null) return { ...broken(`was ended by ${signal}`, peakBytes), signal }
  if (exitCode !== 0) return { ...broken(`exited with ${exitCode}`, peakBytes), ...coded(exitCode) }
  return {
    status: 'ok',
    resultText: 'null',
    encoding: 'json',
    exitCode: 0,
    cpuTime: exit.cpuMs ?? 0,
    artifacts: [],
  }
}

function coded(exitCode: number | null): Pick<TaskEnd, 'exitCode'> {
  return exitCode === null ? {} : { exitCode }
}

function broken(what: string, peakBytes: number): TaskEnd {
  return lostEnd('error', 'EXIT', `The program ${what}`, peakBytes)
}
