import type { Socket } from 'node:net'
import type { Wall } from '../contract/warden.ts'
import type { WardenClient } from './client.ts'
import { GuestStreams, type StreamPositions } from './guest-streams.ts'
import { WallHandle } from './handle.ts'

/** Handle of a wall whose streams are multiplexed on one socket. `from`: positions of a forked wall's streams, which are held until `go`. */
export function carriedHandle(
  wall: Wall,
  socket: Socket,
  warden: WardenClient,
  from?: StreamPositions,
): WallHandle {
  const carried = new GuestStreams(socket, {
    garbled: (detail) => handle.garble(detail),
    ...(wall.isPaced && { isPaced: true }),
    ...(from && { from }),
  })
  const handle = new WallHandle(wall, carried.handle, warden, carried.streams)
  handle.openEgress = () => carried.listen()
  handle.carried = carried
  return handle
}
