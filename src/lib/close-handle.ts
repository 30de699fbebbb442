import { Server, type Socket } from 'node:net'

/** Closes an end of a wall that nobody gets. */
export function letGo(handle: Socket | Server): void {
  if (handle instanceof Server) handle.close()
  else handle.destroy()
}
