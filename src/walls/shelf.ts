import { MayflyError, messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import { sha256 } from '../lib/hash.ts'
import type { WardenClient } from './client.ts'
import { WallHandle } from './handle.ts'
import type { ProgramName } from '../contract/warden.ts'

/**
 * The started, warm walls of one program. A wall binds to the first tenant it serves and never serves another; one
 * that is not bound yet is always kept ready, so that a tenant's first job finds a warm process. A bound one that
 * was idle for a minute or did a thousand jobs is ended.
 */
export interface ShelfOptions {
  readonly program: ProgramName
  readonly warden: WardenClient
  readonly voice: Emitter
  /** Isolates made ahead in each handle, of this many MiB. */
  readonly spares: number
  readonly spareMiB: number
  readonly wallsMax: number
  /** Whether one that is bound to nobody is always kept; a single run needs no second. */
  readonly keepReady: boolean
}

/** Our own guest, run to prove the wall: it binds a wall to nobody. */
export const probeTenant = ''

export interface Shelf {
  /** A wall for this tenant and whether it was waiting ready. */
  take(tenant: string): Promise<{ readonly wall: WallHandle; readonly pool: 'hit' | 'miss' }>
  give(handle: WallHandle): void
  /** Starts the one that is kept ready. */
  ready(): Promise<WallHandle>
  close(): Promise<void>
}

const IDLE_MS_MAX = 60_000
const LOOK_EVERY_MS = 5_000
const JOBS_MAX = 1_000
const RETRY_MS = 1_000

export function createShelf(options: ShelfOptions): Shelf {
  const idle: WallHandle[] = []
  const all = new Set<WallHandle>()
  let starting: Promise<WallHandle> | undefined
  let closed = false
  const timer = setInterval(retireIdle, LOOK_EVERY_MS)
  timer.unref()

  async function start(): Promise<WallHandle> {
    const { wall, socket } = await options.warden.start(options.program, {
      spares: options.spares,
      spareMiB: options.spareMiB,
    })
    const handle = new WallHandle(wall, socket, options.warden)
    handle.ref(false)
    all.add(handle)
    if (closed) void handle.kill()
    options.voice.say('pool/refilled', {
      program: options.program,
      wall: wall.id,
      took: wall.took,
      layers: wall.layers,
    })
    return handle
  }

  function keepOneUnbound(): void {
    if (
      !options.keepReady ||
      closed ||
      starting ||
      idle.some((handle) => handle.alive && handle.tenant === undefined)
    )
      return
    if (live().length >= options.wallsMax) return
    void unbound().then(
      (handle) => void idle.push(handle),
      (error: unknown) => {
        options.voice.say('tier/unavailable', {
          program: options.program,
          reason: messageOf(error),
        })
        setTimeout(keepOneUnbound, RETRY_MS).unref()
      },
    )
  }

  /** Starts are shared: whoever comes while one is under way waits for that one, and the next for the next. */
  function unbound(): Promise<WallHandle> {
    starting = start().finally(() => (starting = undefined))
    return starting
  }

  function live(): readonly WallHandle[] {
    for (const handle of all) if (!handle.alive) all.delete(handle)
    return [...all]
  }

  function pick(tenant: string | undefined): WallHandle | undefined {
    for (const wanted of [tenant, undefined]) {
      const index = idle.findLastIndex((handle) => handle.alive && handle.tenant === wanted)
      if (index >= 0) return idle.splice(index, 1)[0]
    }
    return undefined
  }

  function retireIdle(): void {
    const now = performance.now()
    for (const handle of Array.from(idle)) {
      const stale = handle.tenant !== undefined && now - handle.freeSince > IDLE_MS_MAX
      if (!stale && handle.alive) continue
      idle.splice(idle.indexOf(handle), 1)
      void handle.kill()
    }
    keepOneUnbound()
  }

  /** Another tenant's idle wall gives way when there is no room for one more. */
  function makeRoom(): void {
    const victim = idle.find((handle) => handle.alive && handle.tenant !== undefined)
    if (live().length < options.wallsMax || !victim) return
    idle.splice(idle.indexOf(victim), 1)
    void victim.kill()
  }

  return {
    async take(tenant) {
      if (closed) throw new MayflyError('DRAINING', 'Cannot take a wall: it is closing')
      const bound = tenant === probeTenant ? undefined : sha256(tenant)
      const ready = pick(bound)
      if (!ready) makeRoom()
      const handle = ready ?? (await (starting ? takeStarting(bound) : start()))
      handle.tenant = bound
      handle.jobs++
      if (bound !== undefined) keepOneUnbound()
      return { wall: handle, pool: ready ? 'hit' : 'miss' }
    },
    give(handle) {
      handle.freeSince = performance.now()
      const spent = handle.jobs >= JOBS_MAX
      if (!handle.alive || spent || closed) void handle.kill()
      else idle.push(handle)
      if (!handle.alive) keepOneUnbound()
    },
    async ready() {
      const handle = idle.find((candidate) => candidate.alive) ?? (await unbound())
      if (!idle.includes(handle)) idle.push(handle)
      return handle
    },
    async close() {
      closed = true
      clearInterval(timer)
      await Promise.all([...all].map((handle) => handle.kill()))
    },
  }

  /** The one that is being started for the shelf, if it is still there when it is ready. */
  async function takeStarting(tenant: string | undefined): Promise<WallHandle> {
    await starting?.catch(() => undefined)
    return pick(tenant) ?? start()
  }
}
