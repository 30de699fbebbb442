import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, realpathSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type {
  Enclosure,
  EnclosureSpec,
  EngineHost,
  EngineOptions,
} from '../../../../contract/engine.ts'
import { MayflyError, messageOf } from '../../../../contract/error.ts'
import { execOf, placesOf, type JailedProgram } from '../../../../jail/embedded.ts'
import { attempt } from '../../../../lib/attempt.ts'
import { installedPrograms, joinedProgram } from '../../../../jail/joined.ts'
import { sandboxExec, seatbeltCommand } from '../../../../jail/seatbelt.ts'
import { chainOf, placed } from '../../../../os/packages.ts'
import type { SpawnedChild } from '../../../../os/spawned-child.ts'
import { awaitReadinessByte, listenTo } from '../../../readiness.ts'
import { closing } from '../../../refusals.ts'
import { Starts } from '../../starts.ts'
import { programFor } from '../program.ts'
import { untilExit } from '../../wall-end.ts'
import { newWallId, sweepWallFolder, wallFolder } from '../../wall-folder.ts'
import { SeatbeltEnclosure } from './enclosure.ts'
import { Readings } from './readings.ts'
import { seatbeltRemains } from './sweep.ts'

/**
 * Starts walls by Seatbelt, on macOS. A wall is one process: `sandbox-exec` execs the program in its own place, and the profile
 * (`src/jail/seatbelt.ts`) allows no other, so that a kill of that process leaves nothing.
 *
 * Relies on Node's spawn for the sockets. Not handled: a parent-death signal, which macOS lacks. The process of a killed warden
 * ends at the end of its socket; one that computes meanwhile is found by its lease, at the next start.
 */
const READY_MS_MAX = 30_000
const DISK_BYTES = 64 * 2 ** 20

const missing = [
  'untested: Seatbelt was never run on macOS by its makers; this wall holds what its proof tried',
  'separate user: walls share the uid of the user who started Mayfly',
  'child processes: a job can start none, has no sockets, and keeps no session',
  'limits: memory, CPU time and disk are sampled, every 200 ms and more',
  'phases of calls: Seatbelt cannot close classes of system calls while a program runs',
]

interface Started {
  readonly id: string
  readonly child: SpawnedChild
  readonly complaint: () => string
}

export class SeatbeltStarter {
  readonly #options: EngineOptions
  readonly #host: EngineHost
  readonly #starts = new Starts<Started>()
  readonly #readings = new Readings()
  #isClosed = false

  constructor(options: EngineOptions, host: EngineHost) {
    this.#options = options
    this.#host = host
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    const began = performance.now()
    const by = this.#options.sandboxExec ?? sandboxExec
    if (this.#options.hide?.includes('sandbox-exec') || !existsSync(by))
      throw new MayflyError('NO_JAIL', 'Cannot start a wall: sandbox-exec is missing', {
        hint: 'It is a part of macOS; look for it in /usr/bin',
      })
    const program = joinedProgram(await programFor(spec, ['seccomp']), installedPrograms)
    if (this.#isClosed) throw closing()
    const started = this.#spawn(program, by)
    const msMax = this.#options.readyMsMax ?? READY_MS_MAX
    const ready = awaitReadinessByte(started, msMax).catch(withDenials)
    const entered = ready.then(() => this.#enter(spec, program, started, began))
    return await this.#starts.settle(started, entered, (of) => this.#release(of))
  }

  /** Kills starts in flight and waits for them. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const { child } of this.#starts.resources) child.kill('SIGKILL')
    await this.#starts.settled()
  }

  /** Takes a lease and a folder, and forks. Releases both before it throws. */
  #spawn(program: JailedProgram, by: string): Started {
    const id = newWallId('w')
    const nothing = openSync('/dev/null', 'r')
    try {
      mkdirSync(wallFolder(id), { mode: 0o700 })
      // /tmp is a link on macOS, which no rule lets a program follow.
      const folder = realpathSync(wallFolder(id))
      this.#host.lease(id, {})
      const exec = execOf(program, { uid: undefined, without: [], scratch: folder })
      const places = {
        program: exec.path,
        readable: [
          ...program.tree,
          ...placesOf(program).map(({ from }) => from),
          ...(program.whole ? cellPackages() : []),
        ],
        writable: program.whole ? [folder] : [],
      }
      const { file, args } = seatbeltCommand(places, exec.args.slice(1), by)
      const stdio = program.whole
        ? (['ignore', 'pipe', 'pipe', nothing, 'pipe', 'pipe'] as const)
        : (['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] as const)
      const child: SpawnedChild = spawn(file, args, {
        cwd: '/',
        env: exec.env,
        stdio: [...stdio],
        detached: true,
      })
      child.on('error', () => undefined)
      return { id, child, complaint: listenTo(child) }
    } catch (error) {
      sweepWallFolder(id)
      this.#host.releaseLease(id)
      throw error
    } finally {
      closeSync(nothing)
    }
  }

  async #enter(
    spec: EnclosureSpec,
    { whole }: JailedProgram,
    started: Started,
    began: number,
  ): Promise<Enclosure> {
    if (this.#isClosed) throw closing()
    const { id, child } = started
    const pid = child.pid!
    const { bytes, started: startedAt } = await this.#readings.watch(pid)
    this.#host.lease(id, seatbeltRemains(pid, startedAt))
    const { scratchBytes: bytesMax = spec.disk ?? DISK_BYTES } = whole ?? {}
    return new SeatbeltEnclosure({
      ...started,
      wall: {
        id,
        program: spec.program,
        pid,
        mechanism: 'seatbelt',
        layers: ['seatbelt', 'memory watch'],
        missing,
        calls: [],
        idleBytes: bytes,
        took: performance.now() - began,
      },
      readings: this.#readings,
      scratch: whole && { folder: wallFolder(id), bytesMax },
      release: () => this.#release(started),
    })
  }

  async #release({ id, child }: Started): Promise<void> {
    child.kill('SIGKILL')
    await untilExit(child)
    if (child.pid !== undefined) this.#readings.forget(child.pid)
    await rm(wallFolder(id), { recursive: true, force: true }).catch(() => sweepWallFolder(id))
    this.#host.releaseLease(id)
  }
}

/** Packages by which a cell is imported in a checkout: a wall without a root of its own shows the real folders. */
function cellPackages(): readonly string[] {
  return attempt(() => placed(chainOf('isolated-vm', 'node-gyp-build')).folders) ?? []
}

/** A denied operation ends a program by SIGABRT or SIGKILL, and only the system's log names it. */
function withDenials(cause: unknown): never {
  throw new MayflyError('UNAVAILABLE', messageOf(cause), {
    cause,
    hint: `macOS logs what its profile denies: log show --last 1m --predicate 'eventMessage CONTAINS "deny("'`,
  })
}
