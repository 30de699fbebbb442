import type { LaunchHints } from '../contract/provider.ts'
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { CallClass } from '../contract/calls.ts'
import { MayflyError } from '../contract/error.ts'
import type { PackageLayer } from '../contract/layer.ts'
import type { Language } from '../contract/job.ts'
import { attempt } from '../lib/attempt.ts'
import { carriedHandle } from './carried-handle.ts'
import type { StartSettings, WardenClient } from './client.ts'
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
  keep(least: number): void
  close(): Promise<void>
}

export interface ProgramSparesOptions {
  readonly mechanism: MechanismName
  readonly warden: WardenClient
  readonly warm: (options: {
    readonly key: string
    readonly image?: string | undefined
    readonly least: number
    readonly most: number
    start(isAwaited: boolean, isUrgent: boolean): Promise<Parked>
    madeOf(): string
  }) => WarmSpares
  readonly least: number
  readonly most: number
  /** Bounds of a job without limits of its own. */
  readonly usual?: UsualBounds | undefined
  /**
   * True if a wall can close every class of calls without its declaration at the start; then all jobs share the spares.
   */
  readonly closesAny?: boolean
  /** True if the runner of Node runs jobs of `js`, in a cell. */
  readonly hasCells?: boolean
}

export interface ProgramSpareSpec {
  readonly language: Language
  readonly disk: number
  /** Classes of calls that its life may close. */
  readonly calls: readonly CallClass[]
  /** Package layers to mount: such a wall is started for its job, because spares have none. */
  readonly layers?: readonly Pick<PackageLayer, 'kind' | 'layer'>[] | undefined
  /** Digest of the image that is its root. */
  readonly image?: string | undefined
}

type SpareSettings = Omit<StartSettings, 'spareMiB' | 'mechanism'>

/** Fields that no claim can change. */
interface SpareKind {
  readonly program: ProgramName
  readonly calls: readonly CallClass[]
  readonly image: string | undefined
}

interface KeptKind {
  readonly spares: WarmSpares
  readonly image: string | undefined
}

/**
 * Limits per mechanism: images with spares, and spares of each image. Modules that an image imports ahead cost memory
 * in each spare.
 */
const imageKindsMax = 4
const sparesOfImageMax = 4

/** Parked walls of one mechanism, by program, image and the call classes that their sentinels answer. */
export class ProgramSpares {
  readonly #options: ProgramSparesOptions
  /** By key, least recently used first. */
  readonly #kinds = new Map<string, KeptKind>()
  readonly #ending = new Set<Promise<unknown>>()
  #isWithoutSentinel = false
  /** Generation of spares: counts how often sentinels became available again. */
  #returns = 0

  constructor(options: ProgramSparesOptions) {
    this.#options = options
  }

  async take({ language, disk, calls, layers = [], image }: ProgramSpareSpec, hints?: LaunchHints) {
    const program = programIn(language, this.#options.hasCells ?? false)
    // An isolate makes no system calls of its own.
    const { closesAny } = this.#options
    const asked = program === 'isolated-vm' || closesAny ? usualCalls : calls
    if (disk === spareDiskBytes && layers.length === 0) {
      const kind = this.#kindOf({ program, calls: asked, image })
      const { spare, pool } = await kind.take(hints)
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

  /** Keeps `count` warm walls of an image, or without one, independent of demand. */
  keep(language: Language, image: string | undefined, count: number): void {
    const program = programIn(language, this.#options.hasCells ?? false)
    this.#kindOf({ program, calls: usualCalls, image }).keep(count)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#kinds.values()].map(({ spares }) => spares.close()))
    await Promise.all(this.#ending)
  }

  async #start(program: ProgramName, settings: SpareSettings): Promise<WallHandle> {
    const { warden, mechanism } = this.#options
    const asked = { ...settings, spareMiB, mechanism }
    const { wall, socket, streams } = await warden.start(program, asked)
    const handle = wall.isCarried
      ? carriedHandle(wall, socket, warden)
      : new WallHandle(wall, socket, warden, streams)
    handle.ref(false)
    // Walls of an image have sentinels of their own, which may be missing while others have them.
    if (streams && settings.image === undefined) this.#noteSentinel(wall)
    if (wall.image === settings.image || settings.image === undefined) return handle
    void handle.kill()
    throw otherImage(wall, settings.image)
  }

  /** Starts a new generation once walls have a sentinel again, so that spares without one are dropped. */
  #noteSentinel({ layers }: Wall): void {
    const was = this.#isWithoutSentinel
    this.#isWithoutSentinel = !layers.includes('sentinel')
    if (was && !this.#isWithoutSentinel) this.#returns++
  }

  /** Spares of one kind; unusual kinds keep none unless jobs demand them. */
  #kindOf(kind: SpareKind): WarmSpares {
    const { program, calls, image } = kind
    const key = keyOf(this.#options.mechanism, kind)
    const known = this.#kinds.get(key)
    if (known) {
      this.#kinds.delete(key)
      this.#kinds.set(key, known)
      return known.spares
    }
    if (image !== undefined) this.#makeRoom()
    const isUsual = image === undefined && calls.join() === usualCalls.join()
    const { least, most, warm } = this.#options
    const spares = warm({
      key,
      image,
      least: isUsual ? least : 0,
      most: image === undefined ? most : Math.min(most, sparesOfImageMax),
      madeOf: () => `${madeOf()} ${this.#returns}`,
      start: async (isAwaited, isUrgent) => {
        // 1 runs a dummy job first.
        const spares = isAwaited ? 0 : 1
        const { usual } = this.#options
        const settings = {
          disk: spareDiskBytes,
          calls,
          spares,
          isUrgent,
          ...(usual && { usual }),
          ...(image !== undefined && { image }),
        } as const
        return parked(await this.#start(program, settings))
      },
    })
    this.#kinds.set(key, { spares, image })
    return spares
  }

  /** Evicts the least recently used image kind if there are too many. */
  #makeRoom(): void {
    const ofImages = [...this.#kinds].filter(([, { image }]) => image !== undefined)
    const tooMany = Math.max(0, ofImages.length - imageKindsMax + 1)
    for (const [key, { spares }] of ofImages.slice(0, tooMany)) {
      this.#kinds.delete(key)
      const ending = spares.close().finally(() => this.#ending.delete(ending))
      this.#ending.add(ending)
    }
  }
}

/** Scratch size of spares, the default of jobs. Walls of another size are started on demand. */
export const spareDiskBytes = 64 * 2 ** 20
/** Minimum scratch size, which holds the job itself, its input and its result. */
const diskBytesMin = 2 ** 20
const spareMiB = 128
/** Call classes of the sentinel if no phase closes one: execs, which are reported and rare. */
export const usualCalls: readonly CallClass[] = ['exec']

/** The program of a wall for a language; `hasCells`: its runner of Node runs `js` in a cell. */
function programIn(language: Language, hasCells: boolean): ProgramName {
  return hasCells && isCell(language) ? 'node' : runnerProgramOf(language)
}

/** Languages whose jobs run in an isolate, with the same globals on every tier, and not as whole programs. */
export const cellLanguages: readonly Language[] = ['js', 'ts']

export const isCell = (language: Language): boolean => cellLanguages.includes(language)

export function runnerProgramOf(language: Language): ProgramName {
  if (language === 'python') return 'python'
  return isCell(language) ? 'isolated-vm' : 'node'
}

/** Contains the whole digest of an image: its author can make images whose digests begin alike. */
function keyOf(mechanism: string, { program, calls, image }: SpareKind): string {
  const isUsual = calls.join() === usualCalls.join()
  return [
    mechanism,
    program,
    ...(isUsual ? [] : [calls.join('+')]),
    ...(image === undefined ? [] : [`sha256:${image}`]),
  ].join('/')
}

function otherImage({ id, image }: Wall, asked: string): MayflyError {
  const has = image === undefined ? 'no image' : `image "sha256:${image}"`
  const message = `Cannot use wall "${id}": it has ${has} in place of "sha256:${asked}"`
  return new MayflyError('PROTOCOL', message)
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
const ownParts = ['/usr/bin/python3', process.execPath, `${root}guest`, `${root}policies/seccomp`]

/** Key of interpreters, runners and filters: spares made before a change are dropped. */
function madeOf(): string {
  // Called by a timer: a file that an upgrade replaces may be missing for a moment.
  return ownParts.map((place) => attempt(() => statSync(place).mtimeMs) ?? 0).join(' ')
}
