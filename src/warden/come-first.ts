import os from 'node:os'

/** Of the warden, which holds everybody to their bounds; of the server, which keeps the time of phases. */
export const niceOf = { warden: -10, server: -5, wall: 0 } as const

/** Lets a process come before others, where this user may; whoever may not has to share. */
export function comeFirst(nice: number, pid = 0): void {
  try {
    os.setPriority(pid, nice)
  } catch {
    // An ordinary user cannot go above where it was started.
  }
}
