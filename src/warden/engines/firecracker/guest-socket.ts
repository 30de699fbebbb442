import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { MayflyError } from '../../../contract/error.ts'

/**
 * Connects to a unix socket in the root of a jail. The jailed process owns that folder, and a guest that compromised it could
 * plant a symbolic link to a socket of the host, such as that of a container runtime, to which this process would then connect
 * as root. Mechanism: the socket is opened with O_PATH and O_NOFOLLOW, type and owner are checked by the descriptor, and the
 * connection goes to /proc/self/fd/N, which is the same inode. That path also fits the limit of 108 bytes for unix sockets.
 *
 * Relies on: Linux, /proc, and the folders above the root of the jail being writable by root only. Not handled: false answers of
 * the right process; its readers are bounded.
 */

/** `O_PATH` of Linux, which Node does not export. */
const O_PATH = 0o10000000

/** Returns a connecting socket. Throws MayflyError PROTOCOL for anything but a socket of this uid, and ENOENT. */
export function connectInJail(file: string, uid: number): Socket {
  const fd = openSync(file, O_PATH | constants.O_NOFOLLOW)
  try {
    const facts = fstatSync(fd)
    if (!facts.isSocket() || facts.uid !== uid)
      throw new MayflyError('PROTOCOL', 'Cannot connect to a machine: its socket was replaced', {
        detail: `"${file}" is ${facts.isSocket() ? `a socket of uid ${facts.uid}` : 'no socket'}`,
      })
    // connect(2) on a unix socket resolves its path synchronously, so the descriptor can be closed.
    return connect(`/proc/self/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
}
