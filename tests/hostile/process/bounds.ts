const MIB = 2 ** 20

/** What every job of the corpus is given. */
export const timeoutMs = 2_000
export const limits = { timeout: timeoutMs, memory: '64MB', processes: 32 } as const

/** What may be seen from outside of one job: its limits, and what a wall itself is made of. */
export const bounds = {
  /** Limit × 1.25 + 32 MiB over the idle size of its wall, which is an interpreter. */
  memoryBytes: (64 * 1.25 + 32 + 80) * MIB,
  /** The launchers, an init and the program itself, beside which a job has its processes. */
  processes: 32 + 10,
  /** The default limit, and what two empty file systems take. */
  diskBytes: 72 * MIB,
  /** Cores; the duty cycle where there is no quota is coarse. */
  cpu: 1.35,
} as const
