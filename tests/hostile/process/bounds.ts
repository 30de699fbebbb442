const MIB = 2 ** 20

/** Limits of every job of the corpus. */
export const timeoutMs = 2_000
export const limits = { timeout: timeoutMs, memory: '64MB', processes: 32 } as const

/** Maximum usage of one job as measured from outside: its limits plus the overhead of the wall. */
export const bounds = {
  /** Limit × 1.25 + 32 MiB over the idle size of its wall, which is an interpreter. */
  memoryBytes: (64 * 1.25 + 32 + 80) * MIB,
  /** Launchers, init and the program itself, in addition to the job's processes. */
  processes: 32 + 10,
  /** Default limit, plus the overhead of two empty file systems. */
  diskBytes: 72 * MIB,
  /** Cores; without a quota the duty cycle is coarse. */
  cpu: 1.35,
} as const

/**
 * The same for a kernel in user space: two processes of this machine stand for each of its own, and its four programs
 * hold 100 MiB that they share.
 */
export const boundsOfSentry: { readonly [B in keyof typeof bounds]: number } = {
  ...bounds,
  memoryBytes: bounds.memoryBytes + 100 * MIB,
  processes: 2 * 32 + 30,
}

/**
 * Bounds of a machine: all of QEMU beside a job of 64 MiB, as a spare that boots meanwhile counts from nothing. Its guest's
 * processes are none of this machine's.
 */
export const boundsOfMachine: typeof boundsOfSentry = { ...bounds, memoryBytes: 768 * 2 ** 20 }

/** Bounds of a user-mode kernel: each process of its guest, and each thread of the kernel, is a process of this machine too. */
export const boundsOfUserKernel: typeof boundsOfSentry = {
  ...boundsOfMachine,
  processes: boundsOfSentry.processes,
}
