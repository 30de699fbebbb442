import { randomInt } from 'node:crypto'
import { chmodSync, chownSync, closeSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type {
  Enclosure,
  EnclosureSpec,
  EngineHost,
  EngineOptions,
} from '../../../../contract/engine.ts'
import { MayflyError } from '../../../../contract/error.ts'
import type { CProgram } from '../../../../jail/c-program.ts'
import { openOwnProgram } from '../../../../jail/own-programs.ts'
import { etcFiles } from '../../../../jail/etc.ts'
import { findLayers } from '../../../../jail/layers.ts'
import { scratchFolders } from '../../../../jail/whole.ts'
import type { JailedProgram } from '../../../../jail/embedded.ts'
import { childrenOf, identify, isAlive, processFacts, readBootId } from '../../../../os/proc.ts'
import { tryReadLink } from '../../../../os/read.ts'
import { listenTo, awaitReadinessByte } from '../../../readiness.ts'
import { closing } from '../../../refusals.ts'
import { freeSlot, type Slot } from '../../../slots.ts'
import { ProcessEnclosure } from '../enclosure.ts'
import { presetBounds } from '../claim.ts'
import { settleWall } from '../process-wall.ts'
import type { WallResources } from '../resources.ts'
import { justForked } from '../resources.ts'
import { killWall } from '../kill.ts'
import { closeListener } from '../egress-listener.ts'
import { releaseOnceGone } from '../../release-once-gone.ts'
import { Starts } from '../../starts.ts'
import { remainsOf } from '../../sweep.ts'
import { makeWallFolder, newWallId, removeWallFolder } from '../../wall-folder.ts'
import { ContainerApi } from './api.ts'
import { ContainerChild, listenFor } from './child.ts'
import { configurationOf, connectorName } from './configuration.ts'
import {
  findSocket,
  socketHints,
  type ContainerEngineName,
  type ContainerSocket,
} from './socket.ts'

const READY_MS_MAX = 30_000
/** Time for a killed container to disappear, if its engine does not report the end. */
const GONE_MS_MAX = 5_000
const DISK_BYTES = 64 * 2 ** 20
/** Image without files: everything visible in the wall is mounted. */
const EMPTY_IMAGE = 'localhost/mayfly-empty:latest'
const EMPTY_TAR_BYTES = 10_240
/** Uids inside, from the 65,536 of a rootless container, above the ones that images use. */
const INSIDE = { first: 20_000, last: 60_000 } as const
const LABEL = { wall: 'mayfly.wall', warden: 'mayfly.warden' } as const
/** Pauses between attempts to remove a container whose engine is busy with it. */
const REMOVAL_PAUSES_MS = [100, 1_000] as const

/**
 * Starts walls that are containers of Podman or Docker, rootless or rootful, made through the API socket of the engine; loaded at
 * the first start.
 *
 * Start of a wall: make a folder of listening sockets; create a container of an empty image, with this system's folders and the
 * folder of sockets mounted read-only, without network and capabilities; start it; accept the connections of its process 1
 * (guest/connector/connector.c); wait for the byte that reports a warm program. From then on it is a wall of processes:
 * memory and CPU are limited by sampling, processes by RLIMIT_NPROC, all by host pids.
 *
 * Relies on: API 1.40; an engine on this machine whose user can mount the files that this user can read. Never pulls, and uses
 * only the image that it made.
 */
export class ContainerStarter {
  readonly #name: ContainerEngineName
  readonly #options: EngineOptions
  readonly #host: EngineHost
  readonly #starts = new Starts<WallResources>()
  #ready: Promise<OpenedEngine> | undefined
  #isClosed = false

  constructor(name: ContainerEngineName, options: EngineOptions, host: EngineHost) {
    this.#name = name
    this.#options = options
    this.#host = host
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    const began = performance.now()
    this.#ready ??= this.#open()
    const opened = await this.#ready.catch((error: unknown) => {
      this.#ready = undefined
      throw error
    })
    const program = await programFor(spec)
    if (this.#isClosed) throw closing()
    const slot = opened.isRootful ? freeSlot() : undefined
    const id = newWallId('w')
    try {
      return await this.#startOne({ id, slot, spec, program, opened, began })
    } catch (error) {
      await removeContainer(opened.api, `mayfly-${id}`)
      await removeWallFolder(id)
      this.#host.releaseLease(id)
      slot?.release()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const resources of this.#starts.resources) killWall(resources)
    await this.#starts.settled()
    const opened = await this.#ready?.catch(() => undefined)
    if (opened) closeSync(opened.connector.fd)
  }

  async #startOne(parts: StartParts): Promise<Enclosure> {
    const { id, slot, spec, program, opened } = parts
    const { api, socket } = opened
    const folder = makeFolders(id, socket, opened.connector)
    this.#host.lease(id, remainsOf([], null))
    const sockets = await listenFor(folder.sockets)
    try {
      const configuration = configurationOf({
        engine: this.#name,
        id,
        image: EMPTY_IMAGE,
        labels: { [LABEL.wall]: id, [LABEL.warden]: ownWarden() },
        program,
        layers: spec.layers ? findLayers(spec.layers) : [],
        sockets: folder.sockets,
        files: folder.files,
        uid: slot?.uid ?? randomInt(INSIDE.first, INSIDE.last),
      })
      await api.call('POST', `/containers/create?name=mayfly-${id}`, {
        body: configuration,
        expected: [201],
      })
      await api.call('POST', `/containers/mayfly-${id}/start`, { expected: [204] })
      const accepted = await Promise.race([
        sockets.accept(),
        sleep(this.#options.readyMsMax ?? READY_MS_MAX, undefined, { ref: false }),
      ])
      if (!accepted)
        throw new MayflyError('UNAVAILABLE', 'Cannot start a wall: its container did not connect')
      const child = new ContainerChild(await pidOf(api, id), accepted)
      void waitFor(api, id, child)
      return await this.#settle(parts, resourcesOf(id, slot, child))
    } finally {
      sockets.close()
    }
  }

  async #settle(parts: StartParts, resources: WallResources): Promise<Enclosure> {
    const { spec, opened, began } = parts
    const { child } = resources
    const ready = awaitReadinessByte(resources, this.#options.readyMsMax ?? READY_MS_MAX)
    const started = ready.then(() => {
      if (this.#isClosed) throw closing()
      const init = child.pid!
      const [program = init] = childrenOf(init)
      resources.processes = [init, program, init].map(identify)
      this.#host.lease(resources.id, remainsOf(resources.processes, null))
      const command = {
        jailKind: 'embedded' as const,
        file: '',
        args: [],
        nested: false,
        ...layersOf(parts),
      }
      const to = { spec, command, isWatched: true, scratchFolders, began }
      const settled = settleWall(resources, program, to)
      const wall = { ...settled, mechanism: this.#name }
      if (spec.usual) presetBounds(wall, spec.usual)
      return new ProcessEnclosure(wall, {
        cgroupVersion: undefined,
        report: (report) => this.#host.report(report),
        release: () => this.#release(resources, opened.api),
      })
    })
    return await this.#starts.settle(resources, started, (of) => this.#release(of, opened.api))
  }

  async #release(resources: WallResources, api: ContainerApi): Promise<void> {
    const { id } = resources
    closeListener(resources)
    resources.space?.close()
    killWall(resources)
    await releaseOnceGone(resources, {
      async removeFolder() {
        await removeContainer(api, `mayfly-${id}`)
        await removeWallFolder(id)
      },
      releaseLease: (name) => this.#host.releaseLease(name),
    })
  }

  async #open(): Promise<OpenedEngine> {
    const { hide = [] } = this.#options
    const socket = findSocket(this.#name, process.env, hide)
    const connector = await openOwnProgram('connector', { hide })
    if ('missing' in connector)
      throw new MayflyError('UNAVAILABLE', `Cannot start a wall: ${connector.missing}`, {
        hint: 'Install gcc or clang, and a static libc (libc6-dev)',
      })
    const api = new ContainerApi(socket.path, socketHints[this.#name])
    await api.ping()
    await sweepLabelled(api)
    await makeEmptyImage(api)
    return { api, socket, connector, isRootful: socket.uid === 0 && process.getuid?.() === 0 }
  }
}

interface OpenedEngine {
  readonly api: ContainerApi
  readonly socket: ContainerSocket
  readonly connector: CProgram
  readonly isRootful: boolean
}

interface StartParts {
  readonly id: string
  readonly slot: Slot | undefined
  readonly spec: EnclosureSpec
  readonly program: WholeOf
  readonly opened: OpenedEngine
  readonly began: number
}

type WholeOf = { readonly main: string; readonly whole: NonNullable<JailedProgram['whole']> }

const anyStatus = { expected: [200, 204, 404, 409, 500] } as const

function layersOf({ slot, opened }: StartParts) {
  return {
    layers: [
      'container',
      ...(opened.isRootful ? [] : ['user namespace']),
      'network namespace',
      'pid namespace',
      'empty root',
      ...(slot ? ['own uid'] : []),
      'seccomp',
    ],
    missing: ['calls: a container cannot close classes of system calls while its program runs'],
  }
}

/** Makes the folders of a wall; only the user of the container engine, which mounts them, can enter. */
function makeFolders(id: string, { uid }: ContainerSocket, connector: CProgram) {
  const all = makeWallFolder(id)
  const [sockets, files] = [path.join(all, 'sockets'), path.join(all, 'files')]
  for (const folder of [sockets, files]) {
    mkdirSync(folder)
    chmodSync(folder, 0o755)
  }
  for (const [at, text] of Object.entries(etcFiles(0)))
    writeFileSync(path.join(files, path.basename(at)), text, { mode: 0o444 })
  // Copied, because the engine's user cannot enter the cache; read by the descriptor that was verified.
  const bytes = readFileSync(`/proc/self/fd/${connector.fd}`)
  writeFileSync(path.join(files, connectorName), bytes, { mode: 0o555 })
  if (process.getuid?.() === 0 && uid !== 0)
    for (const folder of [all, sockets, files]) chownSync(folder, uid, uid)
  return { sockets, files }
}

function resourcesOf(id: string, slot: Slot | undefined, container: ContainerChild): WallResources {
  const { child } = container
  return {
    id,
    slot,
    child,
    isWhole: true,
    forkedFrom: undefined,
    complaint: listenTo(child),
    scratch: undefined,
    sentinel: undefined,
    broken: undefined,
    mark: undefined,
    cgroup: undefined,
    processes: [container.identity],
    ...(slot ? {} : { uidOutside: uidOf(container.pid) }),
    ...justForked,
  }
}

/** Uid from /proc/PID/status: the owner of files in /proc/PID is root for a process that is not dumpable. */
function uidOf(pid: number): number {
  const [, uid] = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(uid)
}

async function pidOf(api: ContainerApi, id: string): Promise<number> {
  const { value } = await api.call('GET', `/containers/mayfly-${id}/json`, { expected: [200] })
  const { State } = value as { readonly State?: { readonly Pid?: unknown } }
  const pid = State?.Pid
  if (typeof pid !== 'number' || pid <= 1 || !processFacts(pid))
    throw new MayflyError(
      'UNAVAILABLE',
      'Cannot start a wall: its container has ended, or runs on another machine',
    )
  return pid
}

async function waitFor(api: ContainerApi, id: string, child: ContainerChild): Promise<void> {
  try {
    const { value } = await api.call('POST', `/containers/mayfly-${id}/wait`, {
      expected: [200],
      msMax: Infinity,
    })
    const { StatusCode } = value as { readonly StatusCode?: unknown }
    child.end(typeof StatusCode === 'number' ? StatusCode : null)
  } catch {
    // The engine does not respond: find out from the process itself whether the container still runs.
    const { pid, startTime } = child.identity
    child.kill('SIGKILL')
    const until = performance.now() + GONE_MS_MAX
    while (isAlive(pid, startTime) && performance.now() < until)
      await sleep(20, undefined, { ref: false })
    child.end(null)
  }
}

/** Imports an image without files; nothing is pulled. */
async function makeEmptyImage(api: ContainerApi): Promise<void> {
  const [repo, tag] = EMPTY_IMAGE.split(/:(?=[^:]*$)/)
  const found = await api.call('GET', `/images/${encodeURIComponent(EMPTY_IMAGE)}/json`, {
    expected: [200, 404],
  })
  if (found.status === 200) return
  const query = new URLSearchParams({ fromSrc: '-', repo: repo!, tag: tag! })
  await api.call('POST', `/images/create?${query.toString()}`, {
    body: Buffer.alloc(EMPTY_TAR_BYTES),
    expected: [200],
  })
}

const ownWarden = () => {
  const { pid, startTime } = identify(process.pid)
  return `${pid}:${startTime}:${pidSpace()}`
}

/** Boot and pid namespace in which this process has its pid. */
const pidSpace = () => `${readBootId()}:${tryReadLink('/proc/self/ns/pid') ?? ''}`

/** States of a container whose processes are gone. */
const overStates: ReadonlySet<unknown> = new Set(['exited', 'stopped', 'dead'])

/**
 * Removes containers of dead wardens by their labels, which are found even if the state folder was removed.
 *
 * Engines may be shared with wardens of other pid namespaces, in containers that have the engine's socket: whether those
 * wardens live cannot be seen from here, so of their containers only those that have ended are removed. A container ends
 * with its warden in any case (`life`).
 */
async function sweepLabelled(api: ContainerApi): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ label: [LABEL.wall] }))
  const { value } = await api.call('GET', `/containers/json?all=true&filters=${filters}`, {
    expected: [200],
  })
  for (const { Id, State, Labels = {} } of value as readonly {
    Id: string
    State?: unknown
    Labels?: Record<string, string>
  }[]) {
    const [pid, startTime, ...space] = (Labels[LABEL.warden] ?? '').split(':')
    const isOver =
      space.join(':') === pidSpace()
        ? !isAlive(Number(pid), Number(startTime))
        : overStates.has(State)
    if (isOver) await removeContainer(api, Id)
  }
}

/** Tries again while the engine responds that it is busy with the container. */
async function removeContainer(api: ContainerApi, name: string): Promise<void> {
  for (const pauseMs of [...REMOVAL_PAUSES_MS, undefined]) {
    const answer = await api
      .call('DELETE', `/containers/${name}?force=true&v=true`, anyStatus)
      .catch(() => undefined)
    if (pauseMs === undefined || (answer?.status !== 409 && answer?.status !== 500)) return
    await sleep(pauseMs)
  }
}

async function programFor(spec: EnclosureSpec): Promise<WholeOf> {
  const { nodeProgram, pythonProgram } = await import('../../../../jail/whole-guests.ts')
  const settings = { scratchBytes: spec.disk ?? DISK_BYTES, isWarm: spec.spares > 0 }
  const { main, whole } =
    spec.program === 'python'
      ? pythonProgram(settings)
      : nodeProgram({ ...settings, hasThreads: true })
  return { main, whole: whole! }
}
