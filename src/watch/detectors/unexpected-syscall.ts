import type { Detector } from './detector.ts'

/** Classes that no program of a guest needs: ways into the kernel, or into other processes. */
const neverNeeded: ReadonlySet<string> = new Set([
  'debug',
  'kernel',
  'keys',
  'module',
  'mount',
  'namespace',
  'raw-socket',
])

/** A class of system calls that nobody foresaw, tried or done. */
export const unexpectedSyscall: Detector<null> = {
  name: 'unexpected-syscall',
  first: null,
  see(state, observation, { foreseen }) {
    const { seen } = observation
    if (seen.kind !== 'syscall') return { state }
    const evidence = [observation]
    const subject = seen.class
    if (neverNeeded.has(seen.class)) {
      const reason = `It ${seen.denied ? 'tried' : 'made'} system calls of class "${seen.class}", which no program needs`
      return { state, found: { severity: 'high', subject, reason, evidence } }
    }
    if (foreseen.syscalls === 'any' || foreseen.syscalls.includes(seen.class)) return { state }
    const reason = `It makes system calls of class "${seen.class}", which nothing foresaw`
    return { state, found: { severity: 'medium', subject, reason, evidence } }
  },
}
