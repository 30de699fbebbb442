import { chmodSync, renameSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import { egressName, forwarderUid } from './bundle.ts'
import type { RunscWall } from './wall.ts'

/**
 * The egress path: a unix socket in a folder of the bundle, which the sentry opens for the program (`--host-uds=open`).
 * Programs connect to 127.0.0.1:3128 on the loopback of the sentry's network stack, on which the host cannot listen; so
 * `guest/process/forward.js`, or `mayfly_forward.py` in an image without Node, listens inside and forwards. It is
 * started by the claim of a job with a network.
 */
const READY_MS_MAX = 10_000

/** Resolves when the forwarder listens inside, before any code of the job runs. */
export async function listenInside({
  resources: { child, folder, control },
  forwarder,
}: Pick<RunscWall, 'resources' | 'forwarder'>): Promise<Server> {
  const server = createServer()
  server.on('error', () => undefined)
  const place = path.join(folder.egress, egressName)
  // Renamed, because libuv unlinks the bound path when this copy is closed after it was passed.
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
