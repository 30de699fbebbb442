/** Small V8 heaps (young 1 MiB, old 64 MiB), because fork cost grows with the warden's memory. */
export const smallHeap = ['--max-semi-space-size=1', '--max-old-space-size=64'] as const
