import { existsSync } from 'node:fs'
import path from 'node:path'
import type {
  Enclosure,
  EnclosureSpec,
  EngineHost,
  EngineOptions,
} from '../../../contract/engine.ts'
import { openCompiled } from '../../../jail/compiled.ts'
import { findLayers } from '../../../jail/layers.ts'
import type { MountedLayer } from '../../../jail/whole.ts'
import type { CgroupRoot } from '../../../os/cgroup-interface.ts'
import { findProgram } from '../../../os/find-program.ts'
import { lowerPriority, preferForOomKill } from '../../../os/priority.ts'
import { ProcessHandles } from '../../../os/process-handles.ts'
import { identify } from '../../../os/proc.ts'
import { awaitReadinessByte } from '../../readiness.ts'
import { freeSlot } from '../../slots.ts'
import { closing } from '../../refusals.ts'
import { groupsOfHost, hasWallUids } from '../host-powers.ts'
import { neededProgram } from '../needed-program.ts'
import { releaseOnceGone } from '../release-once-gone.ts'
import { Starts } from '../starts.ts'
import { remainsOf } from '../sweep.ts'
import { newWallId, removeWallFolder } from '../wall-folder.ts'
import { presetBounds } from './bounds.ts'
import { forwarderOf, rootContent, writeBundle } from './bundle.ts'
import { statePids } from './control.ts'
import { RunscEnclosure } from './enclosure.ts'
import { killResources } from './kill.ts'
import { memoryOf, sentryOf, spentMs } from './measure.ts'
import { runscFolderOf, makeRunscFolder, type WallFolder } from './place.ts'
import { programFor, type RunscProgram } from './program.ts'
import { RootFolders, writeRoot } from './root-folders.ts'
import { commandFor, spawnRunsc, type Programs } from './spawn.ts'
import type { RunscResources, RunscWall } from './wall.ts'

const READY_MS_MAX = 15_000
/** Nice value of guests: warden and server have priority, because they enforce the bounds on a busy machine. */
const GUEST_NICE = 5
/** Host limit of tasks: the sentry, the gofer and the stubs that run the program. */
const HOST_TASKS_MAX = 2_048
/** Folder of an unpacked newer release, preferred to the distribution's package. */
const OWN_PROGRAM = '/usr/local/lib/mayfly/runsc'

/**
 * Starts walls that are containers of runsc: gVisor's kernel in user space (the sentry) answers every system call of the
 * program, so that only the few system calls of the sentry reach the host's kernel, through runsc's own seccomp filter.
 * Loaded with the first wall.
 *
 * Start of a wall: take a uid and a cgroup; write an OCI bundle; fork `runsc run` as that uid, with the sockets of the
 * wall donated to the program (`--pass-fd`); wait for the byte that reports that the program is warm; read the pids of
 * the sandbox and the gofer from runsc's state file; write the lease; measure. While the wall lives the engine uses the
 * sentry's control socket (JSON, under a millisecond), not the command line, each start of which takes 20 to 60 ms.
 *
 * Relies on: runsc 20240729 (Debian 13) with the systrap platform and user namespaces; `setpriv` of util-linux. With
 * root or without, runsc is started `--rootless`: a compromised sentry has an ordinary uid in a user namespace.
 * `--attached` sandboxes die with `runsc run` by PR_SET_PDEATHSIG, and `runsc run` dies with the warden in the same
 * way. Not handled here: closing system calls by phase; runsc accepts no filter while it runs.
 */
export class RunscStarter {
  readonly #options: EngineOptions
  readonly #host: EngineHost
  readonly #hide: readonly string[]
  readonly #cgroups: CgroupRoot | undefined
  readonly #isRoot: boolean
  readonly #starts = new Starts<RunscResources>()
  readonly #roots: RootFolders
  readonly #compiled = openCompiled()
  #isClosed = false

  constructor(options: EngineOptions, host: EngineHost) {
    this.#options = options
    this.#host = host
    this.#roots = new RootFolders(host)
    this.#hide = options.hide ?? []
    this.#cgroups = groupsOfHost(options)
    this.#isRoot = hasWallUids(options)
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    const began = performance.now()
    const programs = this.#programs()
    const program = await programFor(spec, this.#compiled)
    if (this.#isClosed) throw closing()
    const resources = this.#spawn(spec, program, programs)
    try {
      this.#host.lease(resources.id, remainsOf(resources.processes, resources.cgroup?.name ?? null))
    } catch (error) {
      await this.#release(resources)
      throw error
    }
    return await this.#settle(spec, program, resources, began)
  }

  /** Kills starts in flight and waits for them. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const resources of this.#starts.resources) killResources(resources)
    await this.#starts.settled()
    this.#roots.close()
  }

  #programs(): Programs {
    const hide = this.#hide
    const find = (name: string, hint: string) => neededProgram(name, { what: 'a wall', hint, hide })
    const isHidden = hide.includes('runsc')
    const own = !isHidden && !findProgram('runsc') && existsSync(OWN_PROGRAM)
    return {
      runsc: own ? OWN_PROGRAM : find('runsc', 'Install the package runsc of Debian 13 (trixie)'),
      setpriv: find('setpriv', 'Install util-linux'),
      unshare: find('unshare', 'Install util-linux'),
    }
  }

  /** Takes a uid, a cgroup and a folder, writes the bundle and forks. Releases all of them before it throws. */
  #spawn(spec: EnclosureSpec, program: RunscProgram, programs: Programs): RunscResources {
    const slot = this.#isRoot ? freeSlot() : undefined
    const id = newWallId('w')
    const folder = runscFolderOf(id)
    let cgroup: ReturnType<CgroupRoot['create']> | undefined
    try {
      makeRunscFolder(id, slot?.uid)
      const layers = spec.layers ? findLayers(spec.layers) : []
      const root = this.#rootFor({ spec, program, layers, folder })
      writeBundle(folder, program, { layers, root })
      cgroup = this.#cgroups?.create(id)
      if (spec.isUrgent) cgroup?.weighStart('urgent')
      else if (spec.spares > 0) cgroup?.weighStart('spare')
      // Written before the fork, so that a sweep finds the folder and the members of the cgroup.
      this.#host.lease(id, remainsOf([], cgroup ? id : null))
      return spawnRunsc({ id, slot, folder, cgroup, ...programs })
    } catch (error) {
      cgroup?.remove()
      void removeWallFolder(id)
      this.#host.releaseLease(id)
      slot?.release()
      throw error
    }
  }

  /**
   * Root shared by walls of this program. A wall with layers or an image has its own, because its mount points depend
   * on the job.
   */
  #rootFor({ spec, program, layers, folder }: RootParts): string {
    const content = () => rootContent(program, layers)
    if (layers.length === 0 && spec.image === undefined)
      return this.#roots.take(rootName(program), content)
    const root = path.join(folder.all, 'root')
    writeRoot(root, content())
    return root
  }

  /** Waits until the spawned wall is ready; if it fails, releases all of its resources. */
  async #settle(
    spec: EnclosureSpec,
    program: RunscProgram,
    resources: RunscResources,
    began: number,
  ): Promise<Enclosure> {
    // Subscribed at once: 'error' of a failed spawn is emitted before any promise continues.
    const ready = awaitReadinessByte(resources, this.#options.readyMsMax ?? READY_MS_MAX)
    ready.catch(() => undefined)
    const started = ready.then(() => this.#enter(spec, program, resources, began))
    return await this.#starts.settle(resources, started, (of) => this.#release(of))
  }

  async #enter(
    spec: EnclosureSpec,
    program: RunscProgram,
    resources: RunscResources,
    began: number,
  ): Promise<Enclosure> {
    if (this.#isClosed) throw closing()
    const { id, folder, cgroup, slot, control } = resources
    const { sandbox, gofer } = statePids(folder.state, id)
    resources.processes = [...resources.processes, identify(sandbox), identify(gofer)]
    this.#host.lease(id, remainsOf(resources.processes, cgroup ? id : null))
    for (const { pid } of resources.processes) preferForOomKill(pid)
    lowerPriority(sandbox, GUEST_NICE)
    if (cgroup?.controllers.includes('pids')) cgroup.limit({ pids: HOST_TASKS_MAX })
    cgroup?.resetPeakMemory()
    const idleTasks = await control.tasks()
    const sentry = sentryOf(sandbox)
    const idleMemory = memoryOf(resources, sentry)
    const wall: RunscWall = {
      wall: {
        id,
        program: spec.program,
        pid: resources.child.pid!,
        mechanism: 'gvisor',
        layers: layersOf(resources),
        missing: [
          ...(slot ? [] : ['own uid: walls share the uid of the user who started Mayfly']),
          ...(cgroup ? [] : ['memory cgroup: memory is limited only by sampling every 10 ms']),
          ...(cgroup?.controllers.includes('cpu')
            ? []
            : ['cpu quota: the sentry pauses a program above its CPU limit']),
          'calls: runsc cannot close classes of system calls while a program runs',
        ],
        calls: [],
        ...(spec.image !== undefined && { image: spec.image }),
        isImaged: true,
        countsTicks: true,
        idleBytes: idleMemory,
        took: performance.now() - began,
      },
      resources,
      sentry,
      forwarder: forwarderOf(program),
      disk: program.whole.scratchBytes,
      idleMemory,
      idleTasks,
      handles: new ProcessHandles(resources.processes),
      preset: undefined,
      egress: undefined,
      held: undefined,
      killsAtClaim: 0,
      spentBefore: spentMs(resources),
      spentSeen: 0,
    }
    if (spec.usual) presetBounds(wall, spec.usual)
    return new RunscEnclosure(wall, {
      command: commandFor(resources, this.#programs()),
      release: () => this.#release(resources),
    })
  }

  async #release(resources: RunscResources): Promise<void> {
    killResources(resources)
    await releaseOnceGone(resources, { releaseLease: (id) => this.#host.releaseLease(id) })
  }
}

/** Walls with the same mounts share a root; those of a program change once its prepared code is ready. */
function rootName({ main, whole }: RunscProgram): string {
  return [main, ...whole.places.map(({ at }) => at)].join(' ')
}

interface RootParts {
  readonly spec: EnclosureSpec
  readonly program: RunscProgram
  readonly layers: readonly MountedLayer[]
  readonly folder: WallFolder
}

function layersOf({ slot, cgroup }: RunscResources): readonly string[] {
  return [
    'sentry',
    'user namespace',
    'network namespace',
    'pid namespace',
    'empty root',
    'seccomp',
    ...(slot ? ['own uid'] : []),
    ...(cgroup ? ['memory cgroup'] : []),
    'memory watch',
  ]
}
