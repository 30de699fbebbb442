/**
 * Flag for processes that share the processor with walls: V8 gets a single helper thread in place of Node's four. Helpers have
 * the rank of their process, and those of the server compiled and collected while a job waited.
 */
export const oneHelperThread = '--v8-pool-size=1'

/** Flags of a warden: small V8 heaps (young 1 MiB, old 64 MiB), because fork cost grows with its memory. */
export const wardenFlags = [
  '--max-semi-space-size=1',
  '--max-old-space-size=64',
  oneHelperThread,
] as const
