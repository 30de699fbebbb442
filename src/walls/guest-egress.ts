import type { Server } from 'node:net'
import { grantsFiles, grantsNetwork, noFiles, type Controls } from '../contract/controls.ts'
import type { Task } from '../contract/provider.ts'
import type { OpenEgressPath } from './egress-path.ts'
import type { FolderCalls, OpenFolders } from './folder-calls.ts'
import type { GuestEgress } from './guest-kind.ts'
import type { GuestLife } from './guest-life.ts'

export interface RealmEgressOptions {
  /** Opens the egress path for `fetch`, if the job was granted a network. */
  readonly openEgressPath?: OpenEgressPath
  /** Opens the folders that the job was granted. */
  readonly openFolders?: OpenFolders
}

/** Egress of a guest in a realm without sockets: requests and granted folders, by calls. */
export class RealmEgress implements GuestEgress {
  readonly #life: GuestLife
  readonly #options: RealmEgressOptions
  folders: FolderCalls | undefined
  #isClosed = false

  constructor(life: GuestLife, options: RealmEgressOptions) {
    this.#life = life
    this.#options = options
  }

  async open({ run, zone }: Task): Promise<void> {
    const life = this.#life
    const { openEgressPath, openFolders } = this.#options
    const { privateHosts, limits } = life.parts.profile
    const { network, files } = life.controls
    if (openEgressPath && grantsNetwork(network))
      life.adopt(await openEgressPath(life.controls, run, { zone, privateHosts }))
    const asked = { controls: life.controls, run, writtenMax: limits.disk }
    if (openFolders && grantsFiles(files)) this.folders = await openFolders(asked)
    this.tighten(life.wanted)
  }

  tighten(to: Controls): void {
    this.folders?.tighten(this.#isClosed ? { ...to, files: noFiles } : to)
  }

  /** Closes the folders, to calls in flight too. Idempotent. */
  close(): void {
    this.#isClosed = true
    this.tighten(this.#life.wanted)
  }
}

export interface ListenerEgressOptions {
  /** Egress listener inside the wall, if the job was granted a network. */
  readonly listener: Server | undefined
  readonly openEgressPath: OpenEgressPath
}

/** Egress of a whole program: a listener inside its wall. */
export class ListenerEgress implements GuestEgress {
  readonly #life: GuestLife
  readonly #options: ListenerEgressOptions

  constructor(life: GuestLife, options: ListenerEgressOptions) {
    this.#life = life
    this.#options = options
  }

  async open({ run }: Task): Promise<void> {
    const life = this.#life
    const { listener, openEgressPath } = this.#options
    const { warden, profile, wall } = life.parts
    if (!listener) return
    const { privateHosts } = profile
    const egressPath = await openEgressPath(life.controls, run, { privateHosts })
    life.adopt(egressPath)
    const isShared = wall.wall.layers.includes('keeper')
    egressPath.listen(listener, (ends) => warden.callers(life.wall, ends), isShared)
  }

  /** No effect: the sandbox tightens the egress path of a life itself. */
  tighten(): void {}

  close(): void {
    const { egressPath } = this.#life
    if (egressPath) egressPath.close()
    else this.#options.listener?.close()
  }
}
