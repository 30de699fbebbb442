import { EventEmitter, once } from 'node:events'
import { chmodSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import { identify, isAlive, type ProcessIdentity } from '../../../../os/proc.ts'
import { signalAll } from '../../../../os/signal.ts'
import type { SpawnedChild } from '../../../../os/spawned-child.ts'

/** Sockets that the connector connects to, with the descriptor of each in the program. */
const NAMES = { out: 1, err: 2, ready: 4, handle: 5 } as const
const LIFE = 'life'
/** Socket mode for any user inside. The folder is mounted into this container only, and its parent is closed to other users. */
const FOR_ALL = 0o666

/** Listening sockets of a container, each for one connection. */
export class ContainerSockets {
  readonly #servers: readonly Server[]
  readonly #connected: readonly Promise<readonly [name: string, socket: Socket]>[]

  constructor(servers: readonly Server[], names: readonly string[]) {
    this.#servers = servers
    this.#connected = servers.map(async (server, index) => {
      const [socket] = (await once(server, 'connection')) as [Socket]
      server.close()
      socket.on('error', () => undefined)
      // Node tracks sockets of a server that are passed to another process, by listeners on the IPC channel for each server.
      Object.assign(socket, { server: null, _server: null })
      return [names[index]!, socket] as const
    })
    for (const one of this.#connected) one.catch(() => undefined)
  }

  /** Resolves when the container has connected to all sockets. */
  async accept(): Promise<Readonly<Record<string, Socket>>> {
    return Object.fromEntries(await Promise.all(this.#connected))
  }

  close(): void {
    for (const server of this.#servers) server.close()
  }
}

export async function listenFor(folder: string): Promise<ContainerSockets> {
  const names = [...Object.keys(NAMES), LIFE]
  const servers = await Promise.all(
    names.map(async (name) => {
      const server = createServer({ pauseOnConnect: false })
      server.on('error', () => undefined)
      const place = path.join(folder, name)
      server.listen(place)
      await once(server, 'listening')
      chmodSync(place, FOR_ALL)
      return server
    }),
  )
  return new ContainerSockets(servers, names)
}

/**
 * Process 1 of a container, with the interface of a spawned child that walls of processes use. It is no child of this process:
 * the container engine reports its end.
 */
export class ContainerChild extends EventEmitter {
  readonly pid: number
  readonly stdio: (Socket | null)[]
  readonly stderr: Socket | null
  readonly identity: ProcessIdentity
  /** Socket whose close ends the container. */
  readonly #life: Socket | undefined
  exitCode: number | null = null
  signalCode: string | null = null

  constructor(pid: number, sockets: Readonly<Record<string, Socket>>) {
    super()
    this.pid = pid
    this.identity = identify(pid)
    this.stdio = Array.from({ length: 6 }, () => null)
    for (const [name, at] of Object.entries(NAMES)) this.stdio[at] = sockets[name] ?? null
    this.stderr = this.stdio[2] ?? null
    this.#life = sockets[LIFE]
  }

  get child(): SpawnedChild {
    return this as unknown as SpawnedChild
  }

  kill(signal: NodeJS.Signals): boolean {
    this.#life?.destroy()
    const { pid, startTime } = this.identity
    if (!isAlive(pid, startTime)) return false
    signalAll([pid], signal)
    return true
  }

  end(code: number | null): void {
    if (this.exitCode !== null || this.signalCode !== null) return
    if (code === null) this.signalCode = 'SIGKILL'
    else this.exitCode = code
    this.#life?.destroy()
    this.emit('exit', this.exitCode, this.signalCode)
    for (const stream of this.stdio) stream?.resume()
  }
}
