import { systemClock } from '../contract/clock.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { JobAccount } from '../contract/job.ts'
import type { WardenClient } from '../walls/client.ts'
import type { WallHandle } from '../walls/handle.ts'
import { WorkerSpares } from '../walls/worker-spares.ts'
import { hasBounds } from '../walls/worker-claim.ts'
import { AnalystUpkeep, analystBounds, analystAnswerMsMax } from './analyst-upkeep.ts'
import { FairQueue } from './fair-queue.ts'
import { NoAnalystError } from './no-analyst.ts'

/**
 * Client of the analysis process, which is jailed, disposable and bound to one tenant. It may crash, hang or lie: the
 * first two are errors here, and a false answer can only make the verdict stricter.
 */
export interface AnalysisClient {
  /**
   * Sends a request and resolves with the reply, both JSON text. The time in the process, not that in the queue, is charged to
   * the account. Throws MayflyError: OVERLOADED on a full queue, a timeout in it, and a failure of this machine, UNAVAILABLE
   * when the process failed, and NoAnalystError after some tries if none has ever started.
   */
  ask(tenant: string, requestText: string, account?: JobAccount): Promise<string>
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
  /** Failed tries after which a process that has never started counts as impossible here. */
  readonly firstTriesMax?: number
}

const KIND = { request: 1, reply: 2 } as const
/**
 * Warm-up sources of 10 KB. The first takes 76 ms, the second 30 and the twentieth 21: with twenty, a start took 0.3 s more
 * of CPU time, and each new tenant costs a start.
 */
const WARM_SOURCES = 3
/** Maximum queued requests of one tenant, and queued source characters of all tenants. */
const queueBounds = { waitingMax: 500, waitingUnitsMax: 128 * 2 ** 20, waitMsMax: 10_000 } as const
/** Retry hint after a failure of this machine. */
const RETRY_MS = 1000
/** Failed tries before a first start counts as impossible: a single source is not tried again. */
const firstTries = { usual: 3, once: 1 } as const

export function createAnalysisClient({
  warden,
  emitter,
  atOnce,
  once,
  alone,
  keepReady = () => true,
  firstTriesMax = once ? firstTries.once : firstTries.usual,
}: AnalysisClientOptions): AnalysisClient {
  const first = new FirstStart(firstTriesMax)
  const workers = new WorkerSpares({
    program: 'analyst',
    warden,
    emitter: first.hearing(emitter),
    spares: once ? 0 : WARM_SOURCES,
    get keepReady() {
      return !once && keepReady()
    },
    spareMiB: 8,
    wallsMax: atOnce + 1,
  })
  const queue = new FairQueue({ places: atOnce, alone, ...queueBounds }, systemClock)
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
    async ask(tenant, requestText, account) {
      const leave = await queue.enter(tenant, requestText.length, account?.sender)
      try {
        const wall = await first.of(() => claimed(tenant))
        const began = systemClock.now()
        try {
          return await exchange(wall, requestText)
        } finally {
          workers.give(wall)
          if (!once) upkeep.after(wall, requestText.length)
          account?.charge(systemClock.now() - began)
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
    // A source that uses more than its bound is ended for its memory instead.
    if (wall.end?.how === 'pressure') throw notNow('the machine ran short of memory', thrown)
    throw new MayflyError('UNAVAILABLE', `Cannot analyse: ${messageOf(thrown)}`)
  }
}

/** Codes that stay as they are. A machine without a jail is not short of anything: its walls say what it lacks. */
const keptCodes: ReadonlySet<string> = new Set(['DRAINING', 'WARDEN_LOST', 'NO_JAIL'])

/** Tells a machine that has never started a process from one that cannot start another now. */
class FirstStart {
  readonly #triesMax: number
  #failed = 0
  #hasStarted = false

  constructor(triesMax: number) {
    this.#triesMax = triesMax
  }

  /** Emitter for the processes that notes the first start, also one ahead of all sources. */
  hearing(emitter: Emitter): Emitter {
    return {
      emit: (point, fields, more) => {
        if (point === 'pool/refilled') this.#hasStarted = true
        emitter.emit(point, fields, more)
      },
    }
  }

  /**
   * Throws MayflyError if the process gets no source. Tries at the same time count as one, and failures that pass
   * count as none.
   */
  async of(start: () => Promise<WallHandle>): Promise<WallHandle> {
    const before = this.#failed
    try {
      return await start()
    } catch (thrown) {
      if (passes(thrown)) throw notBegun(thrown)
      if (this.#failed === before) this.#failed++
      const isLasting = !this.#hasStarted && this.#failed >= this.#triesMax
      throw isLasting ? neverBegun(thrown) : notBegun(thrown)
    }
  }
}

/** True for a failure that says nothing about a first start. A warden that is full says so. */
function passes(thrown: unknown): boolean {
  if (!(thrown instanceof MayflyError)) return false
  return thrown.code === 'OVERLOADED' || keptCodes.has(thrown.code)
}

/** Error of a process that got no source. */
function notBegun(thrown: unknown): MayflyError {
  if (!(thrown instanceof MayflyError)) return notNow('its process could not start', thrown)
  if (keptCodes.has(thrown.code)) return thrown
  return notNow(thrown.message, thrown)
}

/** Error of a process that has never started here, with its own cause and remedy. */
function neverBegun(thrown: unknown): NoAnalystError {
  const isKnown = thrown instanceof MayflyError
  const why = isKnown ? thrown.message : 'its process cannot start'
  const hint = (isKnown ? thrown.hint : undefined) ?? 'Run "mayfly doctor" for the reason'
  return new NoAnalystError('UNAVAILABLE', `Cannot analyse: ${why}`, { hint, cause: thrown })
}

/** Error of an analysis that this machine failed: it says nothing about the source. */
function notNow(why: string, cause: unknown): MayflyError {
  return new MayflyError('OVERLOADED', `Cannot analyse now: ${why}`, {
    hint: 'Try again later, or ask for fewer at once',
    retryAfterMs: RETRY_MS,
    cause,
  })
}
