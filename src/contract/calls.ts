import type { Controls } from './controls.ts'

/**
 * Classes of system calls that a wall with a sentinel can close while its program runs;
 * policies/sentinel.json lists the calls of each.
 */
export const callClasses = ['exec', 'process', 'network', 'write', 'outside'] as const
export type CallClass = (typeof callClasses)[number]

/**
 * Classes to close when controls narrow. A network that becomes `none` closes at its egress path:
 * sockets between the program's own processes, loopback included, stay usable until a class is
 * named.
 */
export function classesToClose(before: Controls, next: Controls): readonly CallClass[] {
  const closed = new Set<CallClass>(
    callClasses.filter((name) => next.syscalls !== 'any' && !next.syscalls.includes(name)),
  )
  if (isNarrower(before.files.write, next.files.write)) closed.add('write')
  if (isNarrower(before.files.read, next.files.read)) closed.add('outside')
  return callClasses.filter((name) => closed.has(name))
}

/** Compares canonical lists of which the second is within the first. */
export function isNarrower(was: readonly string[], is: readonly string[]): boolean {
  return was.join('\0') !== is.join('\0')
}
