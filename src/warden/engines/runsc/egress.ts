import { chmodSync, renameSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import { egressName, forwarder, forwarderUid } from './bundle.ts'
import type { RunscResources } from './wall.ts'

/**
 * The egress path: a unix socket in a folder of the bundle, which the sentry opens for the program (`--host-uds=open`). A
 * program speaks to a proxy on the loopback of the sentry's own network stack, which no socket of this kernel is behind;
 * `guest/process/forward.js` inside connects the two. It is started at the claim, for a job that was granted a network.
 */
const READY_MS_MAX = 10_000

/** Resolves when the forwarder listens inside. Nothing of a job runs yet. */
export async function openEgress({ child, folder, control }: RunscResources): Promise<Server> {
  const server = createServer()
  server.on('error', () => undefined)
  const place = path.join(folder.egress, egressName)
  // Closing a server removes the path it was bound to (libuv), and this copy is closed once the server has its own.
  const bound = `${place}.new`
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => reject(new Error('its egress path was not ready')), READY_MS_MAX)
  const greet = (early: Socket) => {
    early.destroy()
    resolve()
  }
  server.on('connection', greet)
  server.listen(bound, () => {
    chmodSync(bound, 0o666)
    renameSync(bound, place)
    control.start(forwarder, forwarderUid).catch(reject)
  })
  child.once('exit', () => reject(new Error('it ended')))
  try {
    await promise
    return server
  } catch (error) {
    server.close()
    throw error
  } finally {
    clearTimeout(timer)
    server.off('connection', greet)
  }
}
