import { closeSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { copyDescriptor } from '../os/libc.js'
import type { Taken } from './taken.ts'

/**
 * The one way out of a wall: a socket that listens on its own loopback, made by the launcher while it still may, and
 * copied from the parked program before anybody else's code has run in it.
 */
const LISTENER_FD = 7

/** Undefined where the wall has no network of its own, and so nothing that listens. */
export function takeListener(pid: number, layers: readonly string[]): number | undefined {
  return layers.includes('network namespace') ? copyDescriptor(pid, LISTENER_FD) : undefined
}

/** Whoever gets it accepts on it. */
export function openListener(taken: Taken): Server | undefined {
  const fd = taken.listenerFd
  if (fd === undefined) return undefined
  taken.listenerFd = undefined
  const server = createServer()
  server.on('error', () => undefined)
  return server.listen({ fd })
}

/** Not asked for, or never: then what listens there is the wall's own affair. */
export function dropListener(taken: Taken): void {
  if (taken.listenerFd !== undefined) closeSync(taken.listenerFd)
  taken.listenerFd = undefined
}
