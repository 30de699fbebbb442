import { oneHelperThread } from '../lib/node-flags.ts'

/** Flags of the warden: small V8 heaps (young 1 MiB, old 64 MiB), because fork cost grows with its memory. */
export const smallHeap = [
  '--max-semi-space-size=1',
  '--max-old-space-size=64',
  oneHelperThread,
] as const
