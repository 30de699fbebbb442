import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { MayflyError } from '../../../contract/error.ts'

/**
 * Connects to a unix socket in the root of a jail. The jailed process owns that folder, and a guest that broke into it
 * could put a link there to a socket of this machine, such as that of a container runtime, to which this process as root
 * would then speak. Mechanism: the socket is opened by itself (O_PATH, O_NOFOLLOW), its kind and its owner are read from the
 * descriptor, and the connection goes to /proc/self/fd/N, which is that very inode. Such a path is short, too, where a
 * unix socket's path has 108 bytes at most.
 *
 * Relies on: Linux, /proc, and the folders above the root of the jail being writable by root alone. Not handled: a process that
 * is the right one and answers with lies; its readers are bounded.
 */

/** `O_PATH` of Linux, which Node does not name. */
const O_PATH = 0o10000000

/** A socket that is connecting. Throws MayflyError PROTOCOL for anything but a socket of this uid, and ENOENT. */
export function connectInJail(file: string, uid: number): Socket {
  const fd = openSync(file, O_PATH | constants.O_NOFOLLOW)
  try {
    const facts = fstatSync(fd)
    if (!facts.isSocket() || facts.uid !== uid)
      throw new MayflyError('PROTOCOL', 'Cannot speak to a machine: its socket was replaced', {
        detail: `"${file}" is ${facts.isSocket() ? `a socket of uid ${facts.uid}` : 'no socket'}`,
      })
    // connect(2) on a unix socket looks its path up at once, so the descriptor is not needed any longer.
    return connect(`/proc/self/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
}
