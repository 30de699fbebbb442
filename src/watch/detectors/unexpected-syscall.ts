import type { Detector } from './detector.ts'

/** System call classes that no guest program needs: they reach into the kernel or other processes. */
const neverNeeded: ReadonlySet<string> = new Set([
  'debug',
  'kernel',
  'keys',
  'module',
  'mount',
  'namespace',
  'raw-socket',
])

/** Unforeseen class of system calls, attempted or made. */
export const unexpectedSyscall: Detector<null> = {
  name: 'unexpected-syscall',
  first: null,
  see(state, observation, { foreseen }) {
    const { seen } = observation
    if (seen.kind !== 'syscall') return { state }
    const evidence = [observation]
    const subject = seen.class
    if (neverNeeded.has(seen.class)) {
      const reason = `It ${seen.denied ? 'tried' : 'made'} system calls of class "${seen.class}", which ordinary programs do not use`
      return { state, found: { severity: 'high', subject, reason, evidence } }
    }
    if (foreseen.syscalls === 'any' || foreseen.syscalls.includes(seen.class)) return { state }
    const reason = `It makes system calls of class "${seen.class}", which its first phase does not allow`
    return { state, found: { severity: 'medium', subject, reason, evidence } }
  },
}
