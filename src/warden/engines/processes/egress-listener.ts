import { closeSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { copyDescriptor } from '../../../os/libc.js'
import { egressListenerFd } from '../../../jail/whole.ts'
import type { WallResources } from './resources.ts'

/**
 * Egress of a wall: a socket that listens on the loopback of its network namespace. The wall makes it before its
 * filter forbids that; the warden copies it (pidfd_getfd) from the parked program before foreign code runs in it.
 */

/** Undefined where the wall has no network of its own, and so nothing that listens. */
export function takeListener(pid: number, layers: readonly string[]): number | undefined {
  return layers.includes('network namespace') ? copyDescriptor(pid, egressListenerFd) : undefined
}

/** The caller owns it and accepts on it. */
export function openListener(resources: WallResources): Server | undefined {
  const fd = resources.listenerFd
  if (fd === undefined) return undefined
  resources.listenerFd = undefined
  const server = createServer()
  server.on('error', () => undefined)
  return server.listen({ fd })
}

/** Closes the warden's copy. Idempotent. */
export function closeListener(resources: WallResources): void {
  if (resources.listenerFd !== undefined) closeSync(resources.listenerFd)
  resources.listenerFd = undefined
}
