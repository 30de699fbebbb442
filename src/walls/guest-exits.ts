import type { Server } from 'node:net'
import { grantsFiles, grantsNetwork, type Controls } from '../contract/controls.ts'
import type { Task } from '../contract/provider.ts'
import type { OpenWayOut } from './exit.ts'
import type { FolderCalls, OpenFolders } from './folder-calls.ts'
import type { GuestExits } from './guest-kind.ts'
import type { GuestLife } from './guest-life.ts'

export interface RealmExitsOptions {
  /** Opens the exit of a guest's own `fetch`, where its job was granted a network. */
  readonly openWayOut?: OpenWayOut
  /** Opens folders for its calls, where its job was granted some. */
  readonly openFolders?: OpenFolders
}

/** Exits of a guest in a realm without sockets: requests and folders, by calls. */
export class RealmExits implements GuestExits {
  readonly #life: GuestLife
  readonly #options: RealmExitsOptions
  folders: FolderCalls | undefined

  constructor(life: GuestLife, options: RealmExitsOptions) {
    this.#life = life
    this.#options = options
  }

  async open({ run, zone }: Task): Promise<void> {
    const life = this.#life
    const { openWayOut, openFolders } = this.#options
    const { privateHosts, limits } = life.parts.profile
    const { network, files } = life.controls
    if (openWayOut && grantsNetwork(network))
      life.adopt(await openWayOut(life.controls, run, { zone, privateHosts }))
    const asked = { controls: life.controls, run, writtenMax: limits.disk }
    if (openFolders && grantsFiles(files)) this.folders = await openFolders(asked)
    this.folders?.tighten(life.wanted)
  }

  tighten(to: Controls): void {
    this.folders?.tighten(to)
  }
}

export interface ListenerExitOptions {
  /** Listener inside the wall for what leaves it, where it was granted a network. */
  readonly listener: Server | undefined
  readonly openWayOut: OpenWayOut
}

/** Exit of a whole program: a listener inside its wall. */
export class ListenerExit implements GuestExits {
  readonly #life: GuestLife
  readonly #options: ListenerExitOptions

  constructor(life: GuestLife, options: ListenerExitOptions) {
    this.#life = life
    this.#options = options
  }

  async open({ run }: Task): Promise<void> {
    const life = this.#life
    const { listener, openWayOut } = this.#options
    const { warden, profile } = life.parts
    if (!listener) return
    const { privateHosts } = profile
    const wayOut = await openWayOut(life.controls, run, { privateHosts })
    life.adopt(wayOut)
    wayOut.listen(listener, (ends) => warden.callers(life.wall, ends))
  }

  /** No effect: the sandbox tightens the exit of a life itself. */
  tighten(): void {}

  close(): void {
    const { wayOut } = this.#life
    if (wayOut) wayOut.close()
    else this.#options.listener?.close()
  }
}
