import { closeSync, constants, openSync, statfsSync } from 'node:fs'
import { attempt } from '../../../lib/attempt.ts'
import { asFileUser } from '../../../os/libc.js'
import { workFolder } from '../../../jail/whole.ts'

/** `O_PATH` of Linux, which Node does not export. */
const O_PATH = 0o10000000
const FLAGS = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW
/**
 * Blocks, and inodes, that a full tmpfs may have left: Linux 6.18 refuses a write of 1 MiB with one block free, and a runner removes
 * files of its own as it ends.
 */
const FREE_MAX = 16

/**
 * The tmpfs of a wall's scratch folders, held by a descriptor, so that its usage can be read after the last process of its mount
 * namespace has ended. Until it is closed, the kernel keeps the files.
 *
 * Relies on /proc/PID/root, for which the kernel asks the rights of PTRACE_MODE_READ. Without them there is none.
 */
export class ScratchSpace {
  readonly #fd: number
  #isClosed = false

  private constructor(fd: number) {
    this.#fd = fd
  }

  /** `pid` is a process of the wall, `uid` its own, if it has one. */
  static open(pid: number, uid: number | undefined): ScratchSpace | undefined {
    const open = () => openSync(`/proc/${pid}/root${workFolder}`, FLAGS)
    const fd = attempt(open) ?? (uid === undefined ? undefined : attemptAs(uid, open))
    return fd === undefined ? undefined : new ScratchSpace(fd)
  }

  /** True if it has no room for files to speak of. */
  get isFull(): boolean {
    if (this.#isClosed) return false
    const seen = attempt(() => statfsSync(`/proc/self/fd/${this.#fd}`))
    return seen !== undefined && seen.blocks > 0 && Math.min(seen.bfree, seen.ffree) <= FREE_MAX
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    closeSync(this.#fd)
  }
}

function attemptAs(uid: number, open: () => number): number | undefined {
  return attempt(() => asFileUser(uid, open))
}
