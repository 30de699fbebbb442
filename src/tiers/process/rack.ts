import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Language } from '../../contract/job.ts'
import type { WardenClient } from '../../warden/client.ts'
import { WallHandle } from '../../warden/handle.ts'
import type { ProgramName } from '../../warden/protocol.ts'
import type { Way } from '../../contract/way.ts'

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
  readonly way: Way
  readonly warden: WardenClient
  readonly warm: (options: {
    readonly key: string
    readonly least: number
    readonly most: number
    start(): Promise<Parked>
    madeOf(): string
  }) => Kept
  readonly least: number
  readonly most: number
}

/** The parked walls of one way, by program. */
export interface Rack {
  take(
    language: Language,
    disk: number,
  ): Promise<{ readonly wall: WallHandle; readonly pool: 'hit' | 'miss' }>
  close(): Promise<void>
}

/** The size of scratch that spares are made with: what a job gets that asks for nothing. Others are made on demand. */
export const spareDiskBytes = 64 * 2 ** 20
/** Less would not hold the job itself, its input and its result. */
const diskBytesMin = 2 ** 20
const spareMiB = 128

export function createRack(options: RackOptions): Rack {
  const kinds = new Map<ProgramName, Kept>()

  async function start(program: ProgramName, disk: number): Promise<WallHandle> {
    const settings = { spares: 1, spareMiB, way: options.way, disk }
    const { wall, socket, streams } = await options.warden.start(program, settings)
    const handle = new WallHandle(wall, socket, options.warden, streams)
    handle.ref(false)
    return handle
  }

  function kindOf(program: ProgramName): Kept {
    const known = kinds.get(program)
    if (known) return known
    const { least, most, way } = options
    const kept = options.warm({
      key: `${way}/${program}`,
      least,
      most,
      madeOf,
      start: async () => parked(await start(program, spareDiskBytes)),
    })
    kinds.set(program, kept)
    return kept
  }

  return {
    async take(language, disk) {
      const program = programOf(language)
      if (disk !== spareDiskBytes)
        return { wall: await start(program, Math.max(disk, diskBytesMin)), pool: 'miss' }
      const { spare, pool } = await kindOf(program).take()
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
  return createHash('sha256').update(facts.join(' ')).digest('hex')
}
