import { closeSync } from 'node:fs'
import { areAllRunning, openProcess } from './libc.js'
import { livingOf, type ProcessIdentity } from './proc.ts'

/**
 * Pidfds of processes (pidfd_open(2), Linux 5.3): one poll(2) checks whether all of them run, instead of a read of
 * /proc for each. A pidfd refers to the same process for ever; the identity is compared once, after the open.
 */
export class ProcessHandles {
  readonly #identities: readonly ProcessIdentity[]
  #fds: readonly number[] | undefined

  /** Falls back to /proc at EMFILE, and on a kernel without pidfd_open(2). */
  constructor(identities: readonly ProcessIdentity[]) {
    this.#identities = identities
    this.#fds = openAll(identities)
  }

  /** True if all of them run; a zombie does not. */
  areRunning(): boolean {
    if (this.#fds) return areAllRunning(this.#fds)
    return livingOf(this.#identities).length === this.#identities.length
  }

  /** Closes the pidfds; later checks read /proc. Idempotent. */
  close(): void {
    for (const fd of this.#fds ?? []) closeSync(fd)
    this.#fds = undefined
  }
}

function openAll(identities: readonly ProcessIdentity[]): readonly number[] | undefined {
  const fds: number[] = []
  try {
    for (const { pid } of identities) fds.push(openProcess(pid))
    // Race: a pid may have been reused before it was opened.
    if (livingOf(identities).length === identities.length) return fds
  } catch {
    // ESRCH, EMFILE, ENOSYS.
  }
  for (const fd of fds) closeSync(fd)
  return undefined
}
