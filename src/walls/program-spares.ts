import type { LaunchHints } from '../contract/provider.ts'
import { statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { CallClass } from '../contract/calls.ts'
import type { PackageLayer } from '../contract/layer.ts'
import type { Language } from '../contract/job.ts'
import type { WardenClient } from './client.ts'
import { GuestStreams } from './guest-streams.ts'
import { WallHandle } from './handle.ts'
import type { ProgramName, UsualBounds, Wall, MechanismName } from '../contract/warden.ts'

/** A wall whose program has started, has run a dummy job, and waits for its only one. */
export interface Parked {
  readonly wall: WallHandle
  readonly alive: boolean
  readonly bytes: number
  end(): Promise<unknown>
}

/** Warm spares of one kind; the pool makes it. */
interface WarmSpares {
  take(hints?: LaunchHints): Promise<{ readonly spare: Parked; readonly pool: 'hit' | 'miss' }>
  close(): Promise<void>
}

export interface ProgramSparesOptions {
  readonly mechanism: MechanismName
  readonly warden: WardenClient
  readonly warm: (options: {
    readonly key: string
    readonly least: number
    readonly most: number
    start(isAwaited: boolean, isUrgent: boolean): Promise<Parked>
    madeOf(): string
  }) => WarmSpares
  readonly least: number
  readonly most: number
  /** Bounds of a job that asks for none. */
  readonly usual?: UsualBounds | undefined
  /** Starts each program by an exec of its own, and forks none from a template. */
  readonly fresh?: boolean
  /** Each wall closes what it can without knowing it at its start, so that all jobs share the spares. */
  readonly closesAny?: boolean
}

export interface ProgramSpareSpec {
  readonly language: Language
  readonly disk: number
  /** Classes of calls that its life may close. */
  readonly calls: readonly CallClass[]
  /** Package layers to mount: such a wall is started for its job, because spares have none. */
  readonly layers?: readonly Pick<PackageLayer, 'kind' | 'layer'>[] | undefined
  /** Digest of the image that is its root: started for its job as well. */
  readonly image?: string | undefined
}

/** Parked walls of one mechanism, by program and by the call classes that their sentinels answer. */
export class ProgramSpares {
  readonly #options: ProgramSparesOptions
  readonly #kinds = new Map<string, WarmSpares>()
  #isWithoutSentinel = false
  /** Generation of spares: counts how often sentinels became available again. */
  #returns = 0

  constructor(options: ProgramSparesOptions) {
    this.#options = options
  }

  async take({ language, disk, calls, layers = [], image }: ProgramSpareSpec, hints?: LaunchHints) {
    const program = programOf(language)
    // An isolate makes no system calls of its own.
    const { closesAny } = this.#options
    const asked = program === 'isolated-vm' || closesAny ? usualCalls : calls
    if (disk === spareDiskBytes && layers.length === 0 && image === undefined) {
      const { spare, pool } = await this.#kindOf(program, asked).take(hints)
      return { wall: spare.wall, pool }
    }
    const mounted = layers.map(({ kind, layer }) => ({ kind, layer }))
    const wall = await this.#start(program, {
      disk: Math.max(disk, diskBytesMin),
      calls: asked,
      spares: 0,
      ...(mounted.length > 0 && { layers: mounted }),
      ...(image !== undefined && { image }),
    })
    return { wall, pool: 'miss' as const }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#kinds.values()].map((kept) => kept.close()))
  }

  async #start(program: ProgramName, settings: StartSettings): Promise<WallHandle> {
    const { warden, mechanism, fresh = false } = this.#options
    const { wall, socket, streams } = await warden.start(program, {
      ...settings,
      ...(fresh && { fresh }),
      spareMiB,
      mechanism,
    })
    const handle = wall.isCarried
      ? carriedHandle(wall, socket, warden)
      : new WallHandle(wall, socket, warden, streams)
    handle.ref(false)
    if (streams) this.#noteSentinel(wall)
    return handle
  }

  /** Starts a new generation once walls have a sentinel again, so that spares without one are dropped. */
  #noteSentinel({ layers }: Wall): void {
    const was = this.#isWithoutSentinel
    this.#isWithoutSentinel = !layers.includes('sentinel')
    if (was && !this.#isWithoutSentinel) this.#returns++
  }

  /** Spares of one kind; unusual kinds keep none unless jobs demand them. */
  #kindOf(program: ProgramName, calls: readonly CallClass[]): WarmSpares {
    const isUsual = calls.join() === usualCalls.join()
    const { least, most, mechanism, warm } = this.#options
    const key = [mechanism, program, ...(isUsual ? [] : [calls.join('+')])].join('/')
    const known = this.#kinds.get(key)
    if (known) return known
    const kept = warm({
      key,
      least: isUsual ? least : 0,
      most,
      madeOf: () => `${madeOf()} ${this.#returns}`,
      start: async (isAwaited, isUrgent) => {
        const spares = isAwaited ? 0 : 1
        const { usual } = this.#options
        const settings = {
          disk: spareDiskBytes,
          calls,
          spares,
          isUrgent,
          ...(usual && { usual }),
        } as const
        return parked(await this.#start(program, settings))
      },
    })
    this.#kinds.set(key, kept)
    return kept
  }
}

/** Scratch size of spares, the default of jobs. Walls of another size are started on demand. */
export const spareDiskBytes = 64 * 2 ** 20
/** Minimum scratch size, which holds the job itself, its input and its result. */
const diskBytesMin = 2 ** 20
const spareMiB = 128
/** Call classes of the sentinel if no phase closes one: execs, which are reported and rare. */
export const usualCalls: readonly CallClass[] = ['exec']

interface StartSettings {
  readonly disk: number
  readonly calls: readonly CallClass[]
  /** 1 runs a dummy job first; 0 for a job that waits. */
  readonly spares: 0 | 1
  readonly isUrgent?: boolean
  readonly usual?: UsualBounds
  readonly layers?: ProgramSpareSpec['layers']
  readonly image?: string
}

export function programOf(language: Language): ProgramName {
  if (language === 'python') return 'python'
  return language === 'js' || language === 'ts' ? 'isolated-vm' : 'node'
}

/** Handle of a wall whose streams come on one socket. */
function carriedHandle(wall: Wall, socket: Socket, warden: WardenClient): WallHandle {
  const carried = new GuestStreams(socket, { garbled: (detail) => handle.garble(detail) })
  const handle = new WallHandle(wall, carried.handle, warden, carried.streams)
  handle.openEgress = () => carried.listen()
  return handle
}

function parked(wall: WallHandle): Parked {
  return {
    wall,
    get alive() {
      return wall.alive
    },
    bytes: wall.wall.idleBytes,
    end: () => wall.kill(),
  }
}

const root = fileURLToPath(new URL('../../', import.meta.url))
const ownParts = [process.execPath, `${root}guest`, `${root}policies/seccomp`]

/** Key of interpreters, runners and filters: spares made before a change are dropped. */
function madeOf(): string {
  const python = statSync('/usr/bin/python3', { throwIfNoEntry: false })?.mtimeMs ?? 0
  return [python, ...ownParts.map((place) => statSync(place).mtimeMs)].join(' ')
}
