import type { Finding, PatternName } from './verdict.ts'

/** Changes by which the author of code takes away the cause of a finding. */
const changes: Readonly<Record<PatternName, string>> = {
  VM_ESCAPE: 'call functions by their own names, not through a constructor',
  CRYPTOMINING: 'take the mining code out',
  CHILD_PROCESS: 'start no other program from it',
  PROCESS_ACCESS: 'leave the process and its environment alone',
  FILESYSTEM: 'read and write files of the job alone',
  PROTOTYPE_POLLUTION: 'write to objects of its own, not to prototypes',
  EVAL: 'write the code out in place of a text that is evaluated',
  BUFFER_OVERFLOW: 'allocate less at once',
  NETWORK: 'connect to hosts by their literal names',
  REQUIRE: 'load modules by their literal names',
  IMPORT: 'import modules by their literal names',
  TIMING_ATTACK: 'measure time with Date.now() alone',
  OBFUSCATION: 'hand in the readable source',
  UNPARSED: 'write it so that it can be analysed: mend its syntax, or split it',
  UNREAD_DEPENDENCY: 'use a release of the package with readable source',
}
const SHOWN_MAX = 3

/** Hint for the author of refused code: what to change, and where, for the first findings of different kinds. */
export function threatChanges(
  findings: readonly Pick<Finding, 'name' | 'line' | 'column'>[],
): string {
  const first = new Map(findings.toReversed().map((finding) => [finding.name, finding]))
  const shown = findings.filter((finding) => first.get(finding.name) === finding)
  if (shown.length === 0) return 'Write it in a plainer way: its risk is that of the whole'
  const told = shown
    .slice(0, SHOWN_MAX)
    .map(({ name, line, column }) => `line ${line}, column ${column}: ${changes[name]}`)
  return `Change ${told.join('; ')}`
}
