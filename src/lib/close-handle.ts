import { Server, type Socket } from 'node:net'

/** Closes a socket or listener of a wall that has no receiver. */
export function closeHandle(handle: Socket | Server): void {
  if (handle instanceof Server) handle.close()
  else handle.destroy()
}
