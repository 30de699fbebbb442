import type { CallClass } from '../contract/calls.ts'
import type { Controls } from '../contract/controls.ts'
import type { Job, Language } from '../contract/job.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { Schedule } from '../contract/phase.ts'

/**
 * Why a session cannot start, on walls that close system calls: the manager of a session makes its folders and starts its
 * interpreter in the first phase. A later phase may close all of these.
 */
export function whySessionCannotStart(
  { session }: Pick<Job, 'session'>,
  language: Language,
  { name, phases }: Pick<Schedule, 'name' | 'phases'>,
): OutcomeError | undefined {
  const [first] = phases
  if (session?.kind !== 'open' || !first) return undefined
  const closed = startsBy(language).filter((call) => isClosed(first.controls, call))
  if (closed.length === 0) return undefined
  const classes = closed.map((call) => `"${call}"`).join(' and ')
  return {
    code: 'UNAVAILABLE',
    message: `Cannot open a session in "${language}": phase "${first.name}" of schedule "${name}" closes ${classes}, by which it starts`,
    details: { hint: `Close ${classes} in a later phase, or run jobs instead of a session` },
  }
}

/** JavaScript in a realm starts nothing. */
function startsBy(language: Language): readonly CallClass[] {
  if (language === 'js' || language === 'ts') return []
  return language === 'python' ? ['write', 'process'] : ['write', 'process', 'exec']
}

function isClosed({ syscalls }: Pick<Controls, 'syscalls'>, call: CallClass): boolean {
  return syscalls !== 'any' && !syscalls.includes(call)
}
