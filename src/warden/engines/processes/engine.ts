import { closeSync } from 'node:fs'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { callClasses } from '../../../contract/calls.ts'
import { kvmAccess } from '../../../lib/kvm-access.ts'
import type {
  DeadEnclosure,
  Enclosure,
  EnclosureSpec,
  Engine,
  EngineFacts,
  EngineHost,
  EngineOptions,
} from '../../../contract/engine.ts'
import { closing, noJail } from '../../refusals.ts'
import { sweepWallFolders } from '../wall-folder.ts'
import { groupsOfHost } from '../host-powers.ts'
import { Starts } from '../starts.ts'
import { remainsOf, sweepDead } from '../sweep.ts'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { openCompiled } from '../../../jail/compiled.ts'
import type { JailCommand, JailedProgram } from '../../../jail/embedded.ts'
import { findJailFacts, type JailFacts, type JailLayer } from '../../../jail/facts.ts'
import type { CProgram, CProgramLookup, CProgramSource } from '../../../jail/c-program.ts'
import { openOwnProgram } from '../../../jail/own-programs.ts'
import { markOf } from '../../../os/marked.ts'
import { type CgroupRoot } from '../../../os/cgroup-interface.ts'
import { whyRefused } from './calls.ts'
import { presetBounds } from './claim.ts'
import { ProcessEnclosure } from './enclosure.ts'
import { killWall } from './kill.ts'
import { endOrphans } from './orphans.ts'
import { identifyProcesses, settleWall } from './process-wall.ts'
import { programFor } from './program.ts'
import { awaitReadinessByte } from '../../readiness.ts'
import { releaseResources } from './release.ts'
import type { WallResources } from './resources.ts'
import { SentinelSource } from './sentinel-source.ts'
import { planWall, type SpawnedWall } from './start.ts'
import { assertForkedWall } from './forked-proof.ts'
import { ImageZygotes } from './image-zygotes.ts'

/**
 * Walls that are processes of this kernel: namespaces, seccomp, Landlock, cgroups, and a sentinel for whole programs.
 *
 * Start of a wall: take a uid, a cgroup, a scratch folder; fork a launcher that enters the cgroup and execs the jail;
 * write the lease; wait for the byte that reports that the program is warm; identify its processes; update the lease;
 * measure. Each wall is in a session of its own (setsid) and dies with this process by PR_SET_PDEATHSIG, set after the
 * last change of uid.
 *
 * Relies on: util-linux `unshare` and `setpriv`, or bubblewrap; Linux 5.9 for the sentinel (seccomp notify,
 * close_range). Each part is probed by running it; missing ones are reported in `Wall.missing`. Not handled here: the
 * choice of bounds, which the warden makes; this engine only enforces and tightens them.
 */
export function openProcesses(options: EngineOptions, host: EngineHost): Engine {
  return new ProcessEngine(options, host)
}

const READY_MS_MAX = 15_000
/**
 * Sampling intervals in milliseconds with and without a kernel limit of memory; a program can allocate a gigabyte in
 * half a second.
 */
const sampleEveryMs = { limited: 10, watched: 2 } as const
/** Text on stderr of a launcher if the kernel refused the sentinel's filter. */
const SENTINEL_ERROR = /Esentinel: /
/** Exit code of a sentinel that got no listener (guest/sentinel/wall.h). */
const NOT_HANDED_OVER = 4
const SENTINEL_EXIT_MS_MAX = 1_000
/** Minimum age of an empty cgroup to remove: a starting wall enters its own within seconds. */
const FORGOTTEN_AFTER_MS = 3_600_000
/** Cgroups removed in one turn of the event loop, which takes some milliseconds. */
const FORGOTTEN_AT_ONCE = 64

class ProcessEngine implements Engine {
  readonly name = 'processes'
  readonly #options: EngineOptions
  readonly #without: readonly JailLayer[]
  readonly #host: EngineHost
  readonly #facts: JailFacts
  readonly #cgroups: CgroupRoot | undefined
  readonly #compiled = openCompiled()
  /** Created with the first whole program. */
  readonly #sentinels: SentinelSource
  /** Static ones, of walls in an image; created with the first of these walls. */
  readonly #sentinelsOfImages: SentinelSource
  /** Undefined if each wall is started by an exec. */
  readonly #zygotes: ImageZygotes | undefined
  readonly #forking = new Set<Promise<unknown>>()
  readonly #starts = new Starts<WallResources>()
  /** Undefined while it is being compiled, or without a compiler: then programs of the system start walls. */
  #launcher: CProgram | undefined
  readonly #launcherMade: Promise<void>
  #isClosed = false

  constructor(options: EngineOptions, host: EngineHost) {
    this.#options = options
    this.#without = (options.without ?? []) as readonly JailLayer[]
    this.#host = host
    const { hide = [], sentinelFolder: folder } = options
    const ofSentinels = { hide, ...(folder !== undefined && { folder }) }
    this.#sentinels = new SentinelSource({
      make: () => openOwnProgram('sentinel', ofSentinels),
      report: (sentinel) => host.report({ sentinel }),
    })
    this.#sentinelsOfImages = new SentinelSource({
      make: () => openStaticSentinel(ofSentinels),
      // Each wall reports whether it has one.
      report: () => undefined,
    })
    this.#facts = findJailFacts(hide)
    this.#launcherMade = this.#makeLauncher(hide)
    const templates = options.templates ?? process.env['MAYFLY_TEMPLATES']
    if (templates !== 'off')
      this.#zygotes = new ImageZygotes({
        launcher: () => this.#launcher,
        openLibrary: () => openOwnProgram('zygote', { hide }),
        isEager: templates === 'all',
        isBuilt: (digest) => this.#isBuilt(digest),
      })
    this.#cgroups = groupsOfHost(options)
  }

  detect(): EngineFacts {
    const { root, namespaces, landlock, bubblewrap } = this.#facts
    return {
      root,
      machine: {
        namespaces,
        landlock,
        cgroups: this.#cgroups?.version ?? null,
        bubblewrap: bubblewrap !== undefined,
        kvm: kvmAccess(),
      },
      sampleEveryMs: this.#cgroups ? sampleEveryMs.limited : sampleEveryMs.watched,
    }
  }

  /** Starts again without a sentinel if this machine refuses the first one. */
  async start(wanted: EnclosureSpec): Promise<Enclosure> {
    const spec = asksAboutAll() ? { ...wanted, calls: callClasses } : wanted
    const began = performance.now()
    if (this.#facts.platform !== 'linux') throw noJail(this.#facts.platform)
    const program = await programFor(spec, this.#without)
    const sentinels = spec.image === undefined ? this.#sentinels : this.#sentinelsOfImages
    const sentinel = await this.#sentinelFor(program, sentinels)
    if (this.#isClosed) throw closing()
    const planned = planWall(spec, program, sentinel, {
      facts: this.#facts,
      cgroups: this.#cgroups,
      without: this.#without,
      prefer: this.#options.prefer,
      compiled: this.#compiled,
      launcher: this.#launcher,
      zygotes: this.#zygotes,
    })
    const forked = planned.fork && (await this.#until(planned.fork()))
    if (!forked && this.#isClosed) {
      planned.release()
      throw closing()
    }
    const { command, resources, zygotes }: SpawnedWall = forked ?? planned.exec()
    const used = sentinel && 'fd' in sentinel ? sentinel : undefined
    try {
      const enclosure = await this.#settle(spec, command, resources, began)
      if (used && resources.sentinel) sentinels.confirm(used)
      zygotes?.confirm()
      return enclosure
    } catch (error) {
      if (zygotes && !this.#isClosed) {
        zygotes.refuse()
        return this.start({ ...wanted, fresh: true })
      }
      if (!used || !isRefused(resources, error, spec.image)) throw error
      sentinels.refuse(used, whyRefused(error))
    }
    return this.start(wanted)
  }

  sweep(dead: readonly DeadEnclosure[]): void {
    sweepDead(dead)
  }

  /**
   * Removes cgroups and folders of walls whose leases were deleted with their state folder, and kills children of
   * killed launchers.
   */
  sweepOrphans(): void {
    endOrphans()
    sweepWallFolders()
    const forgotten = this.#cgroups?.forgotten(FORGOTTEN_AFTER_MS) ?? []
    for (const name of forgotten.slice(0, FORGOTTEN_AT_ONCE)) this.#cgroups?.remove(name)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const resources of this.#starts.resources) killWall(resources)
    await this.#zygotes?.close()
    await Promise.allSettled(this.#forking)
    // A start that waited for a fork is registered by then.
    await turn()
    for (const resources of this.#starts.resources) killWall(resources)
    await this.#starts.settled()
    await this.#sentinels.close()
    await this.#sentinelsOfImages.close()
    await this.#launcherMade
    if (this.#launcher) closeSync(this.#launcher.fd)
    this.#launcher = undefined
  }

  /** Registers a fork in flight, which `close` waits for. */
  async #until(fork: Promise<SpawnedWall | undefined>): Promise<SpawnedWall | undefined> {
    this.#forking.add(fork)
    try {
      return await fork
    } finally {
      this.#forking.delete(fork)
    }
  }

  async #makeLauncher(hide: readonly string[]): Promise<void> {
    const found = await openOwnProgram('launcher', { hide })
    this.#launcher = 'fd' in found ? found : undefined
  }

  /** False if the image store does not tell. */
  async #isBuilt(digest: string): Promise<boolean> {
    try {
      const state = this.#options.imageState ?? (await this.#host.state())
      return (await import('./built-here.ts')).isBuiltHere(state, digest)
    } catch {
      return false
    }
  }

  /** Undefined for a worker, whose filter notifies of no calls. */
  async #sentinelFor(
    { whole }: JailedProgram,
    sentinels: SentinelSource,
  ): Promise<CProgramLookup | undefined> {
    if (!whole) return undefined
    if (!(this.#options.sentinel ?? !isLeftOut())) return { missing: 'it is switched off' }
    return await sentinels.take()
  }

  /** Waits until the spawned wall is ready; if it fails, releases all of its resources. */
  async #settle(
    spec: EnclosureSpec,
    command: JailCommand,
    resources: WallResources,
    began: number,
  ): Promise<Enclosure> {
    // Subscribed at once: 'error' of a failed spawn is emitted before any promise continues.
    const ready = resources.broken
      ? Promise.reject(resources.broken)
      : awaitReady(resources, this.#options.readyMsMax ?? READY_MS_MAX)
    ready.catch(() => undefined)
    const started = Promise.try(() => this.#lease(resources))
      .then(() => ready)
      .then(() => this.#enter(spec, command, resources, began))
    return await this.#starts.settle(resources, started, (of) => this.#release(of))
  }

  #enter(
    spec: EnclosureSpec,
    command: JailCommand,
    resources: WallResources,
    began: number,
  ): Enclosure {
    if (this.#isClosed) throw closing()
    const pid = identifyProcesses(resources, command.nested)
    if (resources.forkedFrom) assertForkedWall(resources, this.#facts)
    if (resources.mark !== undefined && markOf(pid) !== resources.mark)
      throw new MayflyError(
        'UNAVAILABLE',
        'Cannot mark the processes of a wall: a limit is too low',
      )
    this.#lease(resources)
    const isWatched = !this.#without.includes('memory watch')
    const wall = settleWall(resources, pid, { spec, command, isWatched, began })
    if (spec.usual) presetBounds(wall, spec.usual)
    return new ProcessEnclosure(wall, {
      cgroupVersion: this.#cgroups?.version,
      report: (report) => this.#host.report(report),
      release: () => this.#release(resources),
    })
  }

  #lease({ id, processes, mark }: WallResources): void {
    this.#host.lease(id, remainsOf(processes, this.#cgroups ? id : null, mark))
  }

  #release(resources: WallResources): Promise<void> {
    return releaseResources(resources, (id) => this.#host.releaseLease(id))
  }
}

/**
 * In an image `sentinel enter` runs before any filter is loaded, and the loader and libraries of a dynamic program would be the
 * image's.
 */
async function openStaticSentinel(
  options: Pick<CProgramSource, 'hide' | 'folder'>,
): Promise<CProgramLookup> {
  const found = await openOwnProgram('sentinel', { ...options, linking: 'static' })
  if ('fd' in found) return found
  return { missing: `in an image it needs a static libc (libc6-dev): ${found.missing}` }
}

/** A release kills the sentinel, whose own exit code is evidence for `isRefused`. */
async function awaitReady(resources: WallResources, msMax: number): Promise<void> {
  try {
    await awaitReadinessByte(resources, msMax)
  } catch (error) {
    if (resources.sentinel && SENTINEL_ERROR.test(messageOf(error)))
      await Promise.race([
        resources.sentinel.ended,
        sleep(SENTINEL_EXIT_MS_MAX, undefined, { ref: false }),
      ])
    throw error
  }
}

/**
 * True if the kernel refused the sentinel (EPERM of ptrace or seccomp, or a missing feature): the caller retries
 * without one. In an image the text counts only if the sentinel got no listener, before any program of the image ran: it
 * may be the image's own text later.
 */
function isRefused(
  { sentinel }: WallResources,
  error: unknown,
  image: string | undefined,
): boolean {
  if (!sentinel) return false
  if (sentinel.refused !== undefined) return true
  const isOurs = image === undefined || sentinel.child.exitCode === NOT_HANDED_OVER
  return isOurs && SENTINEL_ERROR.test(messageOf(error))
}

/** `MAYFLY_SENTINEL`: `off` starts no sentinel; `all` has it answer every call class, for closing calls by hand. */
function asksAboutAll(): boolean {
  return process.env['MAYFLY_SENTINEL'] === 'all'
}

function isLeftOut(): boolean {
  return process.env['MAYFLY_SENTINEL'] === 'off'
}
