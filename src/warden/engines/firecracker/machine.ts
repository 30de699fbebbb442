import { once } from 'node:events'
import type { Socket } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError } from '../../../contract/error.ts'
import { isWallUid } from '../../../contract/uids.ts'
import type { Cgroup } from '../../../os/cgroup-interface.ts'
import { resolvesWithin } from '../../../lib/within.ts'
import { findProgram } from '../../../os/find-program.ts'
import { identify, isAlive, livingOf, type ProcessIdentity } from '../../../os/proc.ts'
import type { SpawnedChild } from '../../../os/spawned-child.ts'
import { listenTo } from '../../readiness.ts'
import type { Slot } from '../../slots.ts'
import { untilExit } from '../wall-end.ts'
import { killAll } from '../kill-all.ts'
import { releaseOnceGone } from '../release-once-gone.ts'
import { entering, shell, startChild } from '../spawned.ts'
import { ApiClient, failure, faultOf } from './api-client.ts'
import {
  bucketFor,
  inJail,
  limitDrive,
  machineRequests,
  type MachineProfile,
} from './configuration.ts'
import { escapedText } from './escaped.ts'
import { jailedProcess, makeJail, removeJail } from './jail-files.ts'
import { apiSocket, jailerArguments, jailRoot, vsockSocket, type JailLocation } from './jailer.ts'
import { assertVersion, setsClock, type FirecrackerVersion } from './version.ts'
import { connectVsock } from './vsock.ts'

/**
 * A Firecracker process in its jail, from the start of the jailer to the release of all resources.
 *
 *     start ─► boot ─► pause ─► snapshot ─► kill        (a template, before any untrusted code runs)
 *     start ─► load ─► connect ─► pause/resume ─► kill  (a clone)
 *
 * The jailer is started in the wall's cgroup and in an empty network namespace, makes the jail, writes the pid of the process in a
 * new PID namespace, and exits. The machine is then reparented to init: there is no exit code, and its end is detected by pid and
 * start time. It has no parent-death signal either, so the lease is written before the jailer starts, for `sweepJails`.
 *
 * Relies on: root, for the real jailer; the root of the jail being made here. Not handled: the guest's clock after a load, which
 * its agent sets; the agent itself. Never run with a real Firecracker: tests use a fake server that follows the API specification.
 */
export interface MachineParts {
  /** Location of the jail; its id is the id of the wall. */
  readonly place: JailLocation
  readonly jailer: string
  /** Uid of the wall; undefined without root, and then only a fake jailer can start. */
  readonly slot: Slot | undefined
  readonly cgroup: Cgroup | undefined
  readonly fileBytesMax: number
  /** Milliseconds for the jailer, for the first answer, and for each request; 10,000 by default. */
  readonly msMax?: number
  /** Adds files to the root before the jailer runs. */
  readonly fill: (root: string) => void
  /** Writes the lease; called before the jailer starts and again with the processes. */
  readonly lease: (processes: readonly ProcessIdentity[]) => void
  readonly releaseLease: (id: string) => void
}

export interface SavedFiles {
  /** Names in the root of the jail. */
  readonly state: string
  readonly memory: string
}

const MS_MAX = 10_000
/** Limit of requests that copy memory to disk. */
const SNAPSHOT_MS_MAX = 60_000
const POLL_MS = 5
const LAST_WORDS_MS_MAX = 500
const DESCRIPTORS_MAX = 256

export class FirecrackerMachine {
  readonly id: string
  readonly version: FirecrackerVersion
  readonly #parts: MachineParts
  readonly #api: ApiClient
  readonly #process: ProcessIdentity
  #released: Promise<void> | undefined

  private constructor(parts: MachineParts, api: ApiClient, started: Started) {
    this.id = parts.place.id
    this.#parts = parts
    this.#api = api
    this.#process = started.process
    this.version = started.version
  }

  /** Starts the jailer, and waits for the first answer. Releases all of it before it rejects with MayflyError. */
  static async start(parts: MachineParts): Promise<FirecrackerMachine> {
    const api = new ApiClient({
      socket: path.join(jailRoot(parts.place), apiSocket),
      uid: uidOf(parts),
      msMax: parts.msMax ?? MS_MAX,
    })
    const root = takeFolder(parts)
    let jailer: StartedJailer | undefined
    try {
      parts.fill(root)
      jailer = startJailer(parts)
      parts.lease(jailer.processes)
      const jailed = await jailedBy(jailer, parts)
      parts.lease([jailed])
      return new FirecrackerMachine(parts, api, {
        process: jailed,
        version: await firstAnswer(api, jailed, parts),
      })
    } catch (error) {
      await release(parts, jailer?.processes ?? [])
      throw error
    }
  }

  /** Configures the machine and starts its guest; resolves once its processors run. */
  async boot(profile: MachineProfile): Promise<void> {
    for (const request of machineRequests(profile)) await this.#api.send(request)
    await this.#api.send({
      method: 'PUT',
      path: '/actions',
      body: { action_type: 'InstanceStart' },
    })
  }

  /** Resolves when no processor of the guest runs. Idempotent. */
  async pause(): Promise<void> {
    await this.#api.send({ method: 'PATCH', path: '/vm', body: { state: 'Paused' } })
  }

  async resume(): Promise<void> {
    await this.#api.send({ method: 'PATCH', path: '/vm', body: { state: 'Resumed' } })
  }

  /** Saves a paused machine to its jail. */
  async save(files: SavedFiles): Promise<void> {
    const body = {
      snapshot_type: 'Full',
      snapshot_path: inJail(files.state),
      mem_file_path: inJail(files.memory),
    } as const
    await this.#api.send({ method: 'PUT', path: '/snapshot/create', body }, SNAPSHOT_MS_MAX)
  }

  /**
   * Loads a snapshot and resumes it. Paths of disks and of the vsock are those of the saved machine, in this root. After a failure
   * Firecracker exits, so the caller must kill the machine. The guest's kvmclock advances by the age of the snapshot where this release
   * can do it; its agent sets the time of day in any case.
   */
  async load(files: SavedFiles): Promise<void> {
    const body = {
      snapshot_path: inJail(files.state),
      mem_backend: { backend_type: 'File', backend_path: inJail(files.memory) },
      track_dirty_pages: false,
      resume_vm: true,
      ...(setsClock(this.version) && { clock_realtime: true }),
    } as const
    await this.#api.send({ method: 'PUT', path: '/snapshot/load', body }, SNAPSHOT_MS_MAX)
  }

  /**
   * Limits the rate of a disk, in bytes a second, and reads the limit back. Throws MayflyError UNAVAILABLE if the machine reports
   * another limit.
   */
  async limitDisk(id: string, ioBytes: number): Promise<void> {
    const asked = bucketFor(ioBytes)
    await this.#api.send(limitDrive(id, asked))
    const held = await this.#api.driveLimit(id)
    if (held?.size === asked.size && held.refill_time === asked.refill_time) return
    const reported = held ? `${held.size} bytes in ${held.refill_time} ms` : 'no limit'
    throw new MayflyError(
      'UNAVAILABLE',
      `Cannot limit the disk of a machine: Firecracker reports ${reported}`,
    )
  }

  /** Opens a channel to a port of the guest. */
  connect(port: number): Promise<Socket> {
    const { place, msMax = MS_MAX } = this.#parts
    const socket = path.join(jailRoot(place), vsockSocket)
    return connectVsock({ socket, uid: uidOf(this.#parts), port, msMax })
  }

  isAlive(): boolean {
    return isAlive(this.#process.pid, this.#process.startTime)
  }

  get uid(): number | undefined {
    return this.#parts.slot?.uid
  }

  get cgroup(): Cgroup | undefined {
    return this.#parts.cgroup
  }

  get process(): ProcessIdentity {
    return this.#process
  }

  /** Sends SIGKILL to each of its processes. Idempotent. */
  signalKill(): void {
    killAll([this.#process], this.cgroup)
  }

  /**
   * Kills the process and releases jail, cgroup, uid and lease. `take` may read files of the jail once no process runs in it.
   * Idempotent; true if nothing is left.
   */
  async kill(take?: (root: string) => void): Promise<boolean> {
    this.#released ??= release(this.#parts, [this.#process], take)
    await this.#released
    return !this.isAlive()
  }
}

interface Started {
  readonly process: ProcessIdentity
  readonly version: FirecrackerVersion
}

interface StartedJailer {
  readonly child: SpawnedChild
  readonly processes: readonly ProcessIdentity[]
  readonly complaint: () => string
  readonly ended: Promise<void>
}

function uidOf({ slot }: MachineParts): number {
  return slot?.uid ?? process.getuid?.() ?? 0
}

/** Writes the lease and makes the folder. An existing folder is not removed, because it belongs to another machine. */
function takeFolder({ place, slot, cgroup, lease, releaseLease }: MachineParts): string {
  try {
    lease([])
    return makeJail(place)
  } catch (error) {
    cgroup?.remove()
    releaseLease(place.id)
    slot?.release()
    throw error
  }
}

function startJailer(parts: MachineParts): StartedJailer {
  const { place, slot, cgroup, fileBytesMax } = parts
  const uid = uidOf(parts)
  const isUid = (id: number) => (slot ? isWallUid(id) : id > 0)
  const own = { uid, gid: uid, fileBytesMax, descriptorsMax: DESCRIPTORS_MAX }
  const args = jailerArguments({ ...place, ...own }, isUid)
  const command = [...withoutNetwork(), parts.jailer, ...args]
  const child = startChild(shell, entering(cgroup?.entryFiles() ?? [], command), {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const processes = child.pid === undefined ? [] : [identify(child.pid)]
  return { child, processes, complaint: listenTo(child), ended: untilExit(child) }
}

/** Command prefix for an empty network namespace; none for an ordinary user, who can start only a fake jailer. */
function withoutNetwork(): readonly string[] {
  if (process.getuid?.() !== 0) return []
  const unshare = findProgram('unshare')
  if (!unshare) throw failure('gone', { request: 'jailer' }, 'the program "unshare" is missing')
  return [unshare, '--net', '--']
}

/** Waits for the jailer to exit, and returns the process that it started. */
async function jailedBy(jailer: StartedJailer, parts: MachineParts): Promise<ProcessIdentity> {
  const { child, complaint, ended } = jailer
  const msMax = parts.msMax ?? MS_MAX
  if (!(await resolvesWithin(ended, msMax)))
    throw failure('late', { request: 'jailer' }, `it did not end in ${msMax} ms`)
  if (child.exitCode !== 0) await lastWords(child)
  // The machine inherited the other end; its output is not read.
  child.stderr?.destroy()
  const jailed = child.exitCode === 0 ? jailedProcess(parts.place) : undefined
  if (jailed) return jailed
  const why = `exit ${child.exitCode ?? child.signalCode}: ${escapedText(complaint(), 500)}`
  throw failure(child.exitCode === 0 ? 'gone' : 'refused', { request: 'jailer' }, why)
}

/** 'exit' is often emitted before the message that explains it is read. */
async function lastWords({ stderr }: SpawnedChild): Promise<void> {
  if (!stderr || stderr.closed) return
  const late = AbortSignal.timeout(LAST_WORDS_MS_MAX)
  await once(stderr, 'close', { signal: late }).catch(() => undefined)
}

/** Waits until the API answers, and checks its release. */
async function firstAnswer(
  api: ApiClient,
  jailed: ProcessIdentity,
  { msMax = MS_MAX }: MachineParts,
): Promise<FirecrackerVersion> {
  const until = performance.now() + msMax
  for (;;) {
    try {
      return assertVersion(await api.version(), 'firecracker')
    } catch (error) {
      const isSoon = faultOf(error) === 'gone' && performance.now() < until
      if (!isSoon || !isAlive(jailed.pid, jailed.startTime)) throw error
    }
    await sleep(POLL_MS)
  }
}

/** Kills all processes of a machine, also after a partial start, and releases its resources. */
async function release(
  parts: MachineParts,
  known: readonly ProcessIdentity[],
  take?: (root: string) => void,
): Promise<void> {
  const { place, slot, cgroup } = parts
  // Race: the jailer may have written the pid since.
  const jailed = jailedProcess(place)
  const processes = jailed ? [...known, jailed] : known
  const killRest = () => killAll(processes, cgroup)
  killRest()
  await releaseOnceGone(
    { id: place.id, slot, cgroup, processes },
    {
      removeFolder: async () => {
        try {
          if (livingOf(processes).length === 0) take?.(jailRoot(place))
        } finally {
          removeJail(place)
        }
      },
      releaseLease: parts.releaseLease,
      killRest,
    },
  )
}
