import type { Socket } from 'node:net'
import type { EnclosureSockets } from '../../contract/engine.ts'
import type { SpawnedChild } from '../../os/spawned-child.ts'

/** The warden's ends of a whole program's sockets, to be passed to the server by SCM_RIGHTS and then closed. */
export function takeSockets(child: SpawnedChild, handleFd: number): EnclosureSockets {
  const stdio = child.stdio as unknown as (Socket | null)[]
  const take = (fd: number) => {
    const socket = stdio[fd]!
    // On exit of the child Node resumes every stream in `stdio`, and would read bytes off a socket handed over.
    stdio[fd] = null
    return socket
  }
  // The stream keeps flowing: bytes up to the next listener are dropped.
  stdio[2]!.removeAllListeners('data')
  return { handle: take(handleFd), streams: { stdout: take(1), stderr: take(2) } }
}
