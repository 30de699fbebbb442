import { grantsFiles, grantsNetwork } from '../contract/controls.ts'
import { addAbortListener } from 'node:events'
import type { Clock } from '../contract/clock.ts'
import type { Emitter } from '../contract/event.ts'
import { grantable, type Job } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { TaskEnd } from '../contract/provider.ts'
import type { OutcomeWaiter, LifeResult } from '../contract/pipeline.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { type LruBounds, TenantLru } from './tenant-lru.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Cache of outcomes for jobs declared idempotent: same tenant, code, input, files and profile. Only outcomes `ok`
 * without possible side effects (no network, no capability answered outside) are cached. Concurrent equal jobs run
 * once (single flight), and the others wait for its result.
 *
 * A hit is still analysed, planned and recorded as a job, so that code blocked now is not answered from the cache. A
 * configuration change that alters the sandbox changes the profile's digest, and so the key.
 */
export class ResultCache {
  readonly #options: CacheOptions
  readonly #kept: TenantLru<CachedResult>
  readonly #flights = new Map<string, Flight>()

  constructor(options: CacheOptions) {
    this.#options = options
    this.#kept = new TenantLru<CachedResult>(options.bounds, options.clock)
  }

  /** Bytes held now. */
  get bytes(): number {
    return this.#kept.bytes
  }

  async recall(
    job: Job,
    profile: Profile,
    asker: OutcomeWaiter,
    run: () => Promise<LifeResult>,
  ): Promise<LifeResult> {
    const { bounds, clock } = this.#options
    if (bounds().bytes === 0 || !isCacheable(job, profile)) return await run()
    const key = keyOf(job, profile)
    const began = clock.now()
    for (;;) {
      const found = this.#kept.get(job.tenant, key)
      if (found) return this.#hit(job, found, asker, began)
      const flight = this.#flights.get(key)
      if (!flight) return await this.#runAsLeader(job, key, run)
      if (flight.followers >= FOLLOWERS_MAX) return this.#miss(job, await run())
      const landed = await awaitFlight(flight, asker.signal)
      if (typeof landed === 'object') return this.#hit(job, landed, asker, began)
      // A cancelled run has no result, so the next waiter runs; other uncached ends apply to this run
      // only.
      if (landed === 'not kept') return this.#miss(job, await run())
    }
  }

  async #runAsLeader(job: Job, key: string, run: () => Promise<LifeResult>): Promise<LifeResult> {
    const { promise, resolve } = Promise.withResolvers<FlightResult>()
    this.#flights.set(key, { landed: promise, followers: 0 })
    let landed: FlightResult = 'not kept'
    try {
      const lived = await run()
      if (lived.status === 'cancelled') landed = 'cancelled'
      const outcome = cachedResultOf(job, lived, this.#options.clock.now())
      if (outcome) {
        this.#kept.put(job.tenant, key, outcome)
        landed = outcome
      }
      return this.#miss(job, lived)
    } catch (thrown) {
      if (thrown instanceof DOMException && thrown.name === 'AbortError') landed = 'cancelled'
      throw thrown
    } finally {
      this.#flights.delete(key)
      resolve(landed)
    }
  }

  #hit(job: Job, found: CachedResult, { tap }: OutcomeWaiter, began: number): LifeResult {
    const { clock, emitter } = this.#options
    const now = clock.now()
    const cachedFrom = { id: found.id, age: Math.max(0, now - found.at) }
    const told = parseJson(found.json.toString()) as CachedOutcomeData
    const { id: from, age } = cachedFrom
    // Bytes of result, output and artifacts that no wall had to produce and send.
    const bytes = found.json.byteLength
    emitter.emit('cache/hit', { from, age, bytes, cpuTime: found.end.cpuTime }, { run: job.id })
    if (tap)
      for (const name of ['stdout', 'stderr'] as const)
        if (told[name] !== '') Promise.try(() => tap(name, told[name])).catch(() => {})
    return {
      ...told,
      status: 'ok',
      cache: 'hit',
      cachedFrom,
      claim: {
        sandbox: { provider: found.provider, image: found.image, pool: 'none' },
        queueTime: now - began,
        startTime: 0,
      },
      end: found.end,
    }
  }

  #miss(job: Job, lived: LifeResult): LifeResult {
    this.#options.emitter.emit('cache/miss', {}, { run: job.id })
    return { ...lived, cache: 'miss' }
  }
}

export interface CacheOptions {
  readonly clock: Clock
  readonly emitter: Emitter
  readonly bounds: () => LruBounds
}

/** Overhead per entry: key, map slot, names. */
const OVERHEAD_BYTES = 1024
/** Limit of jobs waiting for one run; further ones run by themselves, subject to admission. */
const FOLLOWERS_MAX = 1000

/** Cached part of an outcome, after the gate. */
type CachedOutcomeData = Required<
  Pick<LifeResult, 'result' | 'encoding' | 'stdout' | 'stderr' | 'truncated'>
> &
  Pick<LifeResult, 'calls' | 'artifacts' | 'display'>

/** Stored as JSON text, so that callers cannot modify each other's results. */
interface CachedResult {
  readonly id: string
  readonly at: number
  readonly bytes: number
  readonly json: Buffer
  readonly provider: string
  readonly image: string
  readonly end: TaskEnd
}

type FlightResult = CachedResult | 'cancelled' | 'not kept'

interface Flight {
  readonly landed: Promise<FlightResult>
  followers: number
}

/** Waits for another job's run, until this caller cancels. */
async function awaitFlight(flight: Flight, signal: AbortSignal): Promise<FlightResult> {
  const gone = Promise.withResolvers<never>()
  const leave = () => gone.reject(new DOMException('The job was cancelled', 'AbortError'))
  using _leaving = addAbortListener(signal, leave)
  flight.followers++
  try {
    return await Promise.race([flight.landed, gone.promise])
  } finally {
    flight.followers--
  }
}

/** True if the job is declared idempotent and cannot have effects outside. */
function isCacheable({ asked }: Job, { controls, capture }: Profile): boolean {
  const { network, files, capabilities } = controls
  const isClosed = !grantsNetwork(network) && !grantsFiles(files)
  const callsNobody =
    capabilities !== 'any' &&
    capabilities.every((name) => (grantable as readonly string[]).includes(name))
  return (
    asked.idempotent &&
    asked.shadow === undefined &&
    !asked.trace &&
    !capture &&
    isClosed &&
    callsNobody
  )
}

/** Cache key: all inputs that can influence the result. The profile's digest covers tenant, wall, image and limits. */
function keyOf({ tenant, asked, inputText }: Job, { digest }: Profile): string {
  const { code, name, files, args, env, stdin, artifacts, calls, entry } = asked
  const source = [code, name, inputText, files]
  const surroundings = [args, canonicalJson(env), stdin, asked.input === undefined]
  // A guessed entry and the same one asked have one profile, and treat an exported class differently.
  const isEntryGuessed = entry === 'auto'
  const parts = [tenant, digest, isEntryGuessed, ...source, surroundings, artifacts, calls?.length]
  return sha256(JSON.stringify(parts))
}

/** Undefined for outcomes that must not be reused: not ok, truncated, with side effects, or perhaps without bytes that were printed. */
function cachedResultOf(job: Job, lived: LifeResult, at: number): CachedResult | undefined {
  const { status, result = null, encoding = 'json', stdout = '', stderr = '', claim, end } = lived
  const { truncated, calls, artifacts, display } = lived
  if (status !== 'ok' || !claim || !end || !truncated) return undefined
  if (truncated.stdout || truncated.stderr) return undefined
  // The text of output that is not UTF-8 lacks bytes that a listener was told.
  if ((stdout + stderr).includes('\ufffd')) return undefined
  if (calls?.some((call) => call.status !== 'ok') || (end.network ?? []).length > 0)
    return undefined
  const told: CachedOutcomeData = {
    result,
    encoding,
    stdout,
    stderr,
    truncated,
    ...(calls && { calls }),
    ...(artifacts && { artifacts }),
    ...(display && { display }),
  }
  const json = Buffer.from(JSON.stringify(told))
  // A hit reports no resource use.
  const { memory: _memory, ...cheap } = end
  const files = end.artifacts.reduce((sum, { bytes }) => sum + bytes.length, 0)
  return {
    id: job.id,
    at,
    bytes: json.length + end.resultText.length + files + OVERHEAD_BYTES,
    json,
    provider: claim.sandbox.provider,
    image: claim.sandbox.image,
    end: { ...cheap, cpuTime: 0 },
  }
}
