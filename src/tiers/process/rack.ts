import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { CallClass } from '../../contract/calls.ts'
import type { PackageLayer } from '../../contract/layer.ts'
import type { Language } from '../../contract/job.ts'
import type { WardenClient } from '../../walls/client.ts'
import { WallHandle } from '../../walls/handle.ts'
import type { ProgramName, Wall } from '../../contract/warden.ts'
import type { JailKind } from '../../contract/jail-kind.ts'

/** A wall whose program has started, has run a dummy job, and waits for its only one. */
export interface Parked {
  readonly wall: WallHandle
  readonly alive: boolean
  readonly bytes: number
  end(): Promise<unknown>
}

/** What is kept ready of one kind; the pool makes it. */
interface Kept {
  take(): Promise<{ readonly spare: Parked; readonly pool: 'hit' | 'miss' }>
  close(): Promise<void>
}

export interface RackOptions {
  readonly way: JailKind
  readonly warden: WardenClient
  readonly warm: (options: {
    readonly key: string
    readonly least: number
    readonly most: number
    start(isAwaited: boolean): Promise<Parked>
    madeOf(): string
  }) => Kept
  readonly least: number
  readonly most: number
}

export interface RackWanted {
  readonly language: Language
  readonly disk: number
  /** Classes of calls that its life may close. */
  readonly calls: readonly CallClass[]
  /** Trees of packages that it mounts: such a wall is made for its job, and no spare has one. */
  readonly layers?: readonly Pick<PackageLayer, 'kind' | 'layer'>[] | undefined
}

/** The parked walls of one way, by program and by what their sentinels are asked about. */
export interface Rack {
  take(wanted: RackWanted): Promise<{ readonly wall: WallHandle; readonly pool: 'hit' | 'miss' }>
  close(): Promise<void>
}

/** The size of scratch that spares are made with: what a job gets that asks for nothing. Others are made on demand. */
export const spareDiskBytes = 64 * 2 ** 20
/** Less would not hold the job itself, its input and its result. */
const diskBytesMin = 2 ** 20
const spareMiB = 128
/** What is asked about in a wall whose life closes nothing: programs are told of, and few are started. */
export const usualCalls: readonly CallClass[] = ['exec']

export function createRack(options: RackOptions): Rack {
  const kinds = new Map<string, Kept>()
  let isBare = false
  let returns = 0

  /** With `spares` it gets ready for a job that is still to come; a job that waits is better off without. */
  async function start(
    program: ProgramName,
    settings: {
      readonly disk: number
      readonly calls: readonly CallClass[]
      readonly spares: 0 | 1
      readonly layers?: RackWanted['layers']
    },
  ): Promise<WallHandle> {
    const asked = { ...settings, spareMiB, way: options.way }
    const { wall, socket, streams } = await options.warden.start(program, asked)
    const handle = new WallHandle(wall, socket, options.warden, streams)
    handle.ref(false)
    if (streams) heed(wall)
    return handle
  }

  /** Spares that were started while no wall could have a sentinel are not for jobs that could have one again. */
  function heed({ layers }: Wall): void {
    const wasBare = isBare
    isBare = !layers.includes('sentinel')
    if (wasBare && !isBare) returns++
  }

  /** Those that few jobs need are kept for as long as some do. */
  function kindOf(program: ProgramName, calls: readonly CallClass[]): Kept {
    const isUsual = calls.join() === usualCalls.join()
    const { least, most, way } = options
    const key = [way, program, ...(isUsual ? [] : [calls.join('+')])].join('/')
    const known = kinds.get(key)
    if (known) return known
    const kept = options.warm({
      key,
      least: isUsual ? least : 0,
      most,
      madeOf: () => `${madeOf()} ${returns}`,
      start: async (isAwaited) =>
        parked(await start(program, { disk: spareDiskBytes, calls, spares: isAwaited ? 0 : 1 })),
    })
    kinds.set(key, kept)
    return kept
  }

  return {
    async take({ language, disk, calls, layers = [] }) {
      const program = programOf(language)
      // An isolate makes no calls of its own.
      const asked = program === 'isolated-vm' ? usualCalls : calls
      if (disk !== spareDiskBytes || layers.length > 0) {
        const mounted = layers.map(({ kind, layer }) => ({ kind, layer }))
        const settings = {
          disk: Math.max(disk, diskBytesMin),
          calls: asked,
          spares: 0,
          ...(mounted.length > 0 && { layers: mounted }),
        } as const
        return { wall: await start(program, settings), pool: 'miss' }
      }
      const { spare, pool } = await kindOf(program, asked).take()
      return { wall: spare.wall, pool }
    },
    async close() {
      await Promise.all([...kinds.values()].map((kept) => kept.close()))
    },
  }
}

export function programOf(language: Language): ProgramName {
  if (language === 'python') return 'python'
  return language === 'js' || language === 'ts' ? 'isolated-vm' : 'node'
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

const root = fileURLToPath(new URL('../../../', import.meta.url))
const parts = [process.execPath, '/usr/bin/python3', `${root}guest`, `${root}policies/seccomp`]

/** Changes with the interpreters, the runners and the filters: spares of an older make are no spares. */
function madeOf(): string {
  const facts = parts.map((place) => statSync(place, { throwIfNoEntry: false })?.mtimeMs ?? 0)
  return facts.join(' ')
}
