import { closeSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { copyDescriptor } from '../../../os/libc.js'
import { egressListenerFd } from '../../../jail/whole.ts'
import type { WallResources } from './resources.ts'

/**
 * Egress of a wall: a socket that listens on the loopback of its network namespace. The wall makes it before its
 * filter forbids that; the warden copies it (pidfd_getfd) from the parked program before foreign code runs in it.
 */

/** Undefined if the wall has no network namespace, and so no listener. */
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

/**
 * Egress of a wall in the host's network namespace: a listener on the host's loopback, to which the keeper redirects
 * connections of the program. Other processes of the host can connect too, so the accepting side checks the owner of
 * each connection.
 */
export async function openSharedListener({ sentinel }: WallResources): Promise<Server | undefined> {
  if (!sentinel?.isKeeper) return undefined
  const server = createServer()
  server.on('error', () => undefined)
  const listening = once(server, 'listening')
  server.listen({ port: 0, host: '127.0.0.1', backlog: SHARED_BACKLOG })
  await listening
  sentinel.openEgress((server.address() as AddressInfo).port)
  return server
}

const SHARED_BACKLOG = 256

/** Closes the warden's copy. Idempotent. */
export function closeListener(resources: WallResources): void {
  if (resources.listenerFd !== undefined) closeSync(resources.listenerFd)
  resources.listenerFd = undefined
}
