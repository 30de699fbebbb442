import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import os from 'node:os'
import path from 'node:path'

/**
 * Two ends of a unix socket, one of which can be passed to the server. They connect at a path in a folder that only this user may
 * enter, and that is removed afterwards.
 */
export async function nodeSocketPair(): Promise<{ readonly own: Socket; readonly theirs: Socket }> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mayfly-copies-'))
  try {
    const place = path.join(folder, 'socket')
    const server = createServer()
    server.listen(place)
    await once(server, 'listening')
    const theirs = connect(place)
    const [own] = (await once(server, 'connection')) as [Socket]
    server.close()
    return { own: own.on('error', () => undefined), theirs }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
