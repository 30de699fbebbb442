import { MayflyError, messageOf } from '../../contract/error.ts'
import type { Voice } from '../../contract/event.ts'
import { sha256 } from '../../lib/hash.ts'
import type { WardenClient } from '../../warden/client.ts'
import { Worker } from './worker.ts'

/**
 * The workers of this server. A worker binds to the first tenant it serves and never serves another; one that is
 * not bound yet is always kept ready, so that a tenant's first job finds a warm process. Bound ones that were idle
 * for a minute are ended.
 */
export interface WorkersOptions {
  readonly warden: WardenClient
  readonly voice: Voice
  /** Isolates made ahead in each worker, of this many MiB. */
  readonly spares: number
  readonly spareMiB: number
  readonly workersMax: number
}

/** Our own guest, run to prove the wall: it binds a worker to nobody. */
export const probeTenant = ''

export interface Workers {
  /** A worker for this tenant and whether it was waiting ready. */
  take(tenant: string): Promise<{ readonly worker: Worker; readonly pool: 'hit' | 'miss' }>
  give(worker: Worker, residentBytes: number): void
  /** Starts the one that is kept ready. */
  ready(): Promise<Worker>
  close(): Promise<void>
}

const IDLE_MS_MAX = 60_000
const LOOK_EVERY_MS = 5_000
const JOBS_MAX = 1_000
/** A worker that grew by more than this over its idle size is replaced after its job. */
const GROWTH_BYTES_MAX = 128 * 2 ** 20
const RETRY_MS = 1_000

export function createWorkers(options: WorkersOptions): Workers {
  const idle: Worker[] = []
  const all = new Set<Worker>()
  let starting: Promise<Worker> | undefined
  let closed = false
  const timer = setInterval(retireIdle, LOOK_EVERY_MS)
  timer.unref()

  async function start(): Promise<Worker> {
    const { wall, socket } = await options.warden.start('isolated-vm', {
      spares: options.spares,
      spareMiB: options.spareMiB,
    })
    const worker = new Worker(wall, socket, options.warden)
    worker.ref(false)
    all.add(worker)
    options.voice.say('pool/refilled', { wall: wall.id, took: wall.took, layers: wall.layers })
    return worker
  }

  function keepOneUnbound(): void {
    if (closed || starting || idle.some((worker) => worker.alive && worker.tenant === undefined))
      return
    if (live().length >= options.workersMax) return
    void unbound().then(
      (worker) => void idle.push(worker),
      (error: unknown) => {
        options.voice.say('tier/unavailable', { provider: 'isolated-vm', reason: messageOf(error) })
        setTimeout(keepOneUnbound, RETRY_MS).unref()
      },
    )
  }

  /** Starts are shared: whoever comes while one is under way waits for that one, and the next for the next. */
  function unbound(): Promise<Worker> {
    starting = start().finally(() => (starting = undefined))
    return starting
  }

  function live(): readonly Worker[] {
    for (const worker of all) if (!worker.alive) all.delete(worker)
    return [...all]
  }

  function pick(tenant: string | undefined): Worker | undefined {
    for (const wanted of [tenant, undefined]) {
      const index = idle.findLastIndex((worker) => worker.alive && worker.tenant === wanted)
      if (index >= 0) return idle.splice(index, 1)[0]
    }
    return undefined
  }

  function retireIdle(): void {
    const now = performance.now()
    for (const worker of [...idle]) {
      const stale = worker.tenant !== undefined && now - worker.freeSince > IDLE_MS_MAX
      if (!stale && worker.alive) continue
      idle.splice(idle.indexOf(worker), 1)
      void worker.kill()
    }
    keepOneUnbound()
  }

  /** Another tenant's idle worker gives way when there is no room for one more. */
  function makeRoom(): void {
    const victim = idle.find((worker) => worker.alive && worker.tenant !== undefined)
    if (live().length < options.workersMax || !victim) return
    idle.splice(idle.indexOf(victim), 1)
    void victim.kill()
  }

  return {
    async take(tenant) {
      if (closed) throw new MayflyError('DRAINING', 'Cannot take a worker: the provider is closing')
      const bound = tenant === probeTenant ? undefined : sha256(tenant)
      const ready = pick(bound)
      if (!ready) makeRoom()
      const worker = ready ?? (await (starting ? takeStarting(bound) : start()))
      worker.tenant = bound
      worker.jobs++
      keepOneUnbound()
      return { worker, pool: ready ? 'hit' : 'miss' }
    },
    give(worker, residentBytes) {
      worker.freeSince = performance.now()
      const spent =
        worker.jobs >= JOBS_MAX || residentBytes > worker.wall.idleBytes + GROWTH_BYTES_MAX
      if (!worker.alive || spent || closed) void worker.kill()
      else idle.push(worker)
      if (!worker.alive) keepOneUnbound()
    },
    async ready() {
      const worker = idle.find((candidate) => candidate.alive) ?? (await unbound())
      if (!idle.includes(worker)) idle.push(worker)
      return worker
    },
    async close() {
      closed = true
      clearInterval(timer)
      await starting?.catch(() => undefined)
      await Promise.all([...all].map((worker) => worker.kill()))
    },
  }

  /** The one that is being started for the shelf, if it is still there when it is ready. */
  async function takeStarting(tenant: string | undefined): Promise<Worker> {
    await starting?.catch(() => undefined)
    return pick(tenant) ?? start()
  }
}
