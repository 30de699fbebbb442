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
/** TMPFS_MAGIC. */
const TMPFS = 0x01021994

/**
 * The tmpfs of a wall's scratch folders, or those of each where they share none, held by descriptors, so that their usage can be read
 * after the last process of its mount namespace has ended. Until they are closed, the kernel keeps the files.
 *
 * Relies on /proc/PID/root, for which the kernel asks the rights of PTRACE_MODE_READ. Without them there is none.
 */
export class ScratchSpace {
  readonly #fds: readonly number[]
  #isClosed = false

  private constructor(fds: readonly number[]) {
    this.#fds = fds
  }

  /** `pid` is a process of the wall, `uid` its own, if it has one; by default its folders share one tmpfs. */
  static open(
    pid: number,
    uid: number | undefined,
    folders: readonly string[] = [workFolder],
  ): ScratchSpace | undefined {
    const fds: number[] = []
    for (const folder of folders) {
      const open = () => openSync(`/proc/${pid}/root${folder}`, FLAGS)
      const fd = attempt(open) ?? (uid === undefined ? undefined : attemptAs(uid, open))
      if (fd !== undefined) fds.push(fd)
    }
    return fds.length === 0 ? undefined : new ScratchSpace(fds)
  }

  /** True if one has no room for files to speak of. */
  get isFull(): boolean {
    return !this.#isClosed && this.#fds.some(isFull)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const fd of this.#fds) closeSync(fd)
  }
}

function isFull(fd: number): boolean {
  const seen = attempt(() => statfsSync(`/proc/self/fd/${fd}`))
  if (!seen || seen.type !== TMPFS || seen.blocks === 0) return false
  // A tmpfs without a bound on inodes has none, and none free.
  return seen.bfree <= FREE_MAX || (seen.files > 0 && seen.ffree <= FREE_MAX)
}

function attemptAs(uid: number, open: () => number): number | undefined {
  return attempt(() => asFileUser(uid, open))
}
