import type { CallClass } from '../contract/calls.ts'
import type { Controls } from '../contract/controls.ts'
import type { Job, Language } from '../contract/job.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { Schedule } from '../contract/phase.ts'

/**
 * Error of a session whose first phase closes a system call class that its start needs: the manager of a session
 * creates folders and starts the interpreter in the first phase. Applies to walls that close system calls; later
 * phases may close them. Undefined if the session can start.
 */
export function sessionStartError(
  { session }: Pick<Job, 'session'>,
  language: Language,
  { name, phases }: Pick<Schedule, 'name' | 'phases'>,
): OutcomeError | undefined {
  const [first] = phases
  if (session?.kind !== 'open' || !first) return undefined
  const closed = neededToStart(language).filter((call) => isClosed(first.controls, call))
  if (closed.length === 0) return undefined
  const classes = closed.map((call) => `"${call}"`).join(' and ')
  return {
    code: 'UNAVAILABLE',
    message: `Cannot open a session in "${language}": phase "${first.name}" of schedule "${name}" closes ${classes}, by which it starts`,
    details: { hint: `Close ${classes} in a later phase, or run jobs instead of a session` },
  }
}

/** JavaScript in a realm needs none: it starts no process. */
function neededToStart(language: Language): readonly CallClass[] {
  if (language === 'js' || language === 'ts') return []
  return language === 'python' ? ['write', 'process'] : ['write', 'process', 'exec']
}

function isClosed({ syscalls }: Pick<Controls, 'syscalls'>, call: CallClass): boolean {
  return syscalls !== 'any' && !syscalls.includes(call)
}
