import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, rmdirSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { makeFolder } from '../../lib/make-folder.ts'
import { isOwnerAlive, ownerOf, thisOwner } from '../../lib/owner.ts'
import { changePrivate } from '../../lib/private-file.ts'
import type { ServerFacts } from './client.ts'
import { LocalClient, type LocalClientParts } from './local-client.ts'
import {
  isPrivateFolder,
  isShownToGuests,
  readRecord,
  recordFile,
  recordIn,
  socketPath,
  type ServerKind,
  type ServerRecord,
} from './place.ts'
import { ownVersion } from './server-name.ts'

/** Maximum of concurrent connections, authenticated or not. */
const CLIENTS_MAX = 256
const SECRET_BYTES = 32

export interface LocalDoorOptions {
  readonly folder: string
  readonly name: string
  readonly kind: ServerKind
  readonly state: string
  readonly run: LocalClientParts['run']
  /** True while the server's configuration still matches its name. */
  readonly isItself: () => boolean
  /** Milliseconds without a client after which `idle` is called; null for never. */
  readonly idleMs: number | null
  readonly onIdle: () => void
  /** Called for a stop order, which only a server left behind by a run accepts. */
  readonly onStop: () => void
}

/** Unix socket for `mayfly run` of the same user. */
export interface LocalDoor {
  /** Refuses new jobs, waits up to `ms` for running ones, then cancels the rest. Resolves to the number of cancelled jobs. */
  drain(ms: number): Promise<number>
  /** Closes and removes the socket, the secret and an empty folder. Idempotent. */
  close(): Promise<void>
}

/** Thrown inside a claim if a live server has the name. */
class NameTaken extends Error {}

/**
 * Opens the socket of a server; undefined if another server has its name, or if no socket can be made in the folder. The record is
 * written once the socket listens, under a file lock: of two servers that start concurrently one survives, and leftovers of a
 * killed server are replaced.
 */
export async function openLocalDoor(options: LocalDoorOptions): Promise<LocalDoor | undefined> {
  const { folder, name, kind } = options
  makeFolder(folder, 0o700)
  const socket = `${randomBytes(8).toString('hex')}.sock`
  const path = socketPath(folder, socket)
  if (path === undefined || !isPrivateFolder(folder) || isShownToGuests(folder)) return undefined
  const owner = thisOwner()
  const record: ServerRecord = {
    format: 1,
    name,
    kind,
    owner,
    warden: ownerOf(process.ppid) ?? owner,
    version: ownVersion,
    secret: randomBytes(SECRET_BYTES).toString('hex'),
    socket,
  }
  const door = new Door(options, record, path)
  await door.listen()
  try {
    claim(folder, record)
  } catch (thrown) {
    await door.close()
    if (thrown instanceof NameTaken) return undefined
    throw thrown
  }
  return door
}

function claim(folder: string, record: ServerRecord): void {
  changePrivate(recordFile(folder, record.name), (text) => {
    const before = recordIn(text)
    if (before && isOwnerAlive(before.owner)) throw new NameTaken()
    if (before) rmSync(join(folder, before.socket), { force: true })
    return { text: JSON.stringify(record), value: undefined }
  })
}

class Door implements LocalDoor {
  readonly #options: LocalDoorOptions
  readonly #record: ServerRecord
  readonly #path: string
  readonly #server: Server
  readonly #clients = new Set<LocalClient>()
  readonly #since = Date.now()
  #done = 0
  #idle: NodeJS.Timeout | undefined
  #isDraining = false
  #drained: (() => void) | undefined
  #isClosed = false

  constructor(options: LocalDoorOptions, record: ServerRecord, path: string) {
    this.#options = options
    this.#record = record
    this.#path = path
    this.#server = createServer((socket) => this.#take(socket))
  }

  async listen(): Promise<void> {
    await once(this.#server.listen(this.#path), 'listening')
    this.#server.on('error', () => undefined)
    chmodSync(this.#path, 0o600)
    this.#awaitIdle()
  }

  async drain(ms: number): Promise<number> {
    this.#isDraining = true
    this.#server.close()
    for (const client of this.#clients) client.leaveIdle()
    const running = () => [...this.#clients].filter(({ isRunning }) => isRunning)
    if (running().length === 0) return 0
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#drained = resolve
    const timer = setTimeout(resolve, ms)
    await promise
    clearTimeout(timer)
    const late = running()
    for (const client of late) client.cancel()
    return late.length
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#idle)
    await Promise.all([...this.#clients].map((client) => client.end()))
    const { folder, name } = this.#options
    const { secret } = this.#record
    // Keep the record if another server has the name by now.
    if (readRecord(folder, name)?.secret === secret)
      rmSync(recordFile(folder, name), { force: true })
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    await promise
    rmSync(this.#path, { force: true })
    try {
      rmdirSync(folder)
    } catch {
      // Another server uses the folder.
    }
  }

  #take(socket: Socket): void {
    if (this.#isDraining || this.#clients.size >= CLIENTS_MAX) {
      socket.destroy()
      return
    }
    const { run, isItself, onStop, kind } = this.#options
    const client = new LocalClient(socket, {
      record: this.#record,
      isOpen: () => !this.#isDraining && isItself(),
      facts: () => this.#facts(),
      stop: () => (kind === 'left' ? onStop() : undefined),
      run,
    })
    this.#clients.add(client)
    clearTimeout(this.#idle)
    void this.#leave(client)
  }

  async #leave(client: LocalClient): Promise<void> {
    if (await client.gone) this.#done += 1
    this.#clients.delete(client)
    if (this.#clients.size > 0) return
    this.#drained?.()
    this.#awaitIdle()
  }

  #awaitIdle(): void {
    const { idleMs, onIdle } = this.#options
    if (idleMs === null || this.#isClosed) return
    clearTimeout(this.#idle)
    this.#idle = setTimeout(onIdle, idleMs)
  }

  #facts(): ServerFacts {
    const { kind, state, idleMs } = this.#options
    const running = [...this.#clients].filter(({ isRunning }) => isRunning).length
    return {
      pid: process.pid,
      kind,
      version: ownVersion,
      node: process.version,
      state,
      since: this.#since,
      jobs: { running, done: this.#done },
      idle: idleMs,
    }
  }
}
