import { systemClock } from '../contract/clock.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { WardenClient } from '../walls/client.ts'
import type { WallHandle } from '../walls/handle.ts'
import { WorkerSpares } from '../walls/worker-spares.ts'
import { hasBounds } from '../walls/worker-claim.ts'
import { AnalystUpkeep, analystBounds, analystAnswerMsMax } from './analyst-upkeep.ts'
import { FairQueue } from './fair-queue.ts'

/**
 * Client of the analysis process, which is jailed, disposable and bound to one tenant. It may crash, hang or lie: the
 * first two are errors here, and a false answer can only make the verdict stricter.
 */
export interface AnalysisClient {
  /**
   * Sends a request and resolves with the reply, both JSON text. Throws MayflyError: OVERLOADED on a full queue or a
   * timeout in it, UNAVAILABLE when the process failed.
   */
  ask(tenant: string, requestText: string): Promise<string>
  ready(): Promise<unknown>
  close(): Promise<void>
}

export interface AnalysisClientOptions {
  readonly warden: WardenClient
  readonly emitter: Emitter
  /** Maximum processes parsing at once. */
  readonly atOnce: number
  /** True for a single source: the process is neither warmed up nor replaced. */
  readonly once: boolean
  /** False to start no process before a source waits for it; asked each time. */
  readonly keepReady?: () => boolean
  /** Single-tenant server: reserve no process for others. */
  readonly alone?: boolean | undefined
}

const KIND = { request: 1, reply: 2 } as const
/** Warm-up sources of 10 KB; they cut the first real parse to a third. */
const WARM_SOURCES = 20
/** Maximum queued requests of one tenant, and queued source characters of all tenants. */
const WAITING_MAX = 500
const WAITING_UNITS_MAX = 128 * 2 ** 20
const WAIT_MS_MAX = 10_000

export function createAnalysisClient({
  warden,
  emitter,
  atOnce,
  once,
  alone,
  keepReady = () => true,
}: AnalysisClientOptions): AnalysisClient {
  const workers = new WorkerSpares({
    program: 'analyst',
    warden,
    emitter,
    spares: once ? 0 : WARM_SOURCES,
    get keepReady() {
      return !once && keepReady()
    },
    spareMiB: 8,
    wallsMax: atOnce + 1,
  })
  const queue = new FairQueue(
    {
      places: atOnce,
      alone,
      waitingMax: WAITING_MAX,
      waitingUnitsMax: WAITING_UNITS_MAX,
      waitMsMax: WAIT_MS_MAX,
    },
    systemClock,
  )

  const upkeep = new AnalystUpkeep(workers, warden)

  /** Replaces a process that retained too much memory of earlier sources. */
  async function claimed(tenant: string): Promise<WallHandle> {
    for (;;) {
      const { wall } = await workers.take(tenant)
      await upkeep.settled(wall)
      if (await hasBounds(wall, warden, analystBounds)) return wall
      void wall.kill()
    }
  }

  return {
    async ask(tenant, requestText) {
      const leave = await queue.enter(tenant, requestText.length)
      try {
        const wall = await claimed(tenant)
        try {
          return await exchange(wall, requestText)
        } finally {
          workers.give(wall)
          if (!once) upkeep.after(wall, requestText.length)
        }
      } finally {
        leave()
      }
    },
    ready: () => workers.ready(),
    close: () => workers.close(),
  }
}

/** Kills a process that does not answer. */
async function exchange(wall: WallHandle, requestText: string): Promise<string> {
  try {
    const request = { kind: KIND.request, payload: requestText, name: 'the analysis process' }
    return (await wall.ask(request, KIND.reply, analystAnswerMsMax)).toString()
  } catch (thrown) {
    void wall.kill()
    throw new MayflyError('UNAVAILABLE', `Cannot analyse: ${messageOf(thrown)}`)
  }
}
