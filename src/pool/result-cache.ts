import { grantsFiles, grantsNetwork } from '../contract/controls.ts'
import { addAbortListener } from 'node:events'
import type { Clock } from '../contract/clock.ts'
import type { Emitter } from '../contract/event.ts'
import { grantable, type Job } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { TaskEnd } from '../contract/provider.ts'
import type { OutcomeWaiter, LifeResult, Rooms } from '../contract/pipeline.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { type Bounds, Kept } from './kept.ts'
import { parseJson } from '../lib/parse-json.ts'

export interface ResultCache {
  readonly recall: Rooms['recall']
  /** Held now. */
  readonly bytes: number
}

export interface CacheOptions {
  readonly clock: Clock
  readonly voice: Emitter
  readonly bounds: () => Bounds
}

/** Beside what it holds, what one outcome takes: its key, its place, its names. */
const OVERHEAD_BYTES = 1024
/** Who waits for one run at once; any more run by themselves, and admission says when. */
const FOLLOWERS_MAX = 1000

/**
 * Outcomes of jobs that were declared idempotent, given again to the same tenant for the same code, input, files and
 * profile. Only those that ended `ok`, and could not have reached out: no network, no capability that somebody answers.
 * What is the same and under way runs once, and the others wait for it.
 *
 * A hit is a job like any other: analysed, planned and recorded anew, so that what is blocked now is never answered
 * from before. Where the configuration changed what its sandbox would be, the profile's digest is another.
 */
export function createResultCache({ clock, voice, bounds }: CacheOptions): ResultCache {
  const kept = new Kept<KeptOutcome>(bounds, clock)
  const flights = new Map<string, Flight>()

  async function recall(
    job: Job,
    profile: Profile,
    asker: OutcomeWaiter,
    run: () => Promise<LifeResult>,
  ): Promise<LifeResult> {
    if (bounds().bytes === 0 || !mayBeKept(job, profile)) return await run()
    const key = keyOf(job, profile)
    const began = clock.now()
    for (;;) {
      const found = kept.get(job.tenant, key)
      if (found) return hit(job, found, asker, began)
      const flight = flights.get(key)
      if (!flight) return await lead(job, key, run)
      if (flight.followers >= FOLLOWERS_MAX) return miss(job, await run())
      const landed = await followed(flight, asker.signal)
      if (typeof landed === 'object') return hit(job, landed, asker, began)
      // What a cancelled job would have come to nobody knows; any other end says that it is not for others.
      if (landed === 'not kept') return miss(job, await run())
    }
  }

  async function lead(job: Job, key: string, run: () => Promise<LifeResult>): Promise<LifeResult> {
    const { promise, resolve } = Promise.withResolvers<Landed>()
    flights.set(key, { landed: promise, followers: 0 })
    let landed: Landed = 'not kept'
    try {
      const lived = await run()
      if (lived.status === 'cancelled') landed = 'cancelled'
      const outcome = keptOf(job, lived, clock.now())
      if (outcome) {
        kept.put(job.tenant, key, outcome)
        landed = outcome
      }
      return miss(job, lived)
    } catch (thrown) {
      if (thrown instanceof DOMException && thrown.name === 'AbortError') landed = 'cancelled'
      throw thrown
    } finally {
      flights.delete(key)
      resolve(landed)
    }
  }

  function hit(job: Job, found: KeptOutcome, { tap }: OutcomeWaiter, began: number): LifeResult {
    const now = clock.now()
    const cachedFrom = { id: found.id, age: Math.max(0, now - found.at) }
    const told = parseJson(found.json.toString()) as Told
    voice.say('cache/hit', { from: cachedFrom.id, age: cachedFrom.age }, { run: job.id })
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

  function miss(job: Job, lived: LifeResult): LifeResult {
    voice.say('cache/miss', {}, { run: job.id })
    return { ...lived, cache: 'miss' }
  }

  return {
    recall,
    get bytes() {
      return kept.bytes
    },
  }
}

/** What is told of an outcome, as it left the gate. */
type Told = Required<Pick<LifeResult, 'result' | 'encoding' | 'stdout' | 'stderr' | 'truncated'>> &
  Pick<LifeResult, 'calls' | 'artifacts' | 'display'>

/** Text, so that nobody who was given it can change what others get. */
interface KeptOutcome {
  readonly id: string
  readonly at: number
  readonly bytes: number
  readonly json: Buffer
  readonly provider: string
  readonly image: string
  readonly end: TaskEnd
}

type Landed = KeptOutcome | 'cancelled' | 'not kept'

interface Flight {
  readonly landed: Promise<Landed>
  followers: number
}

/** Waits for the run of another, no longer than the one who waits cares for it. */
async function followed(flight: Flight, signal: AbortSignal): Promise<Landed> {
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

/** Whether what it comes to may be given again: it was declared so, and can have no effect outside. */
function mayBeKept({ asked }: Job, { controls, capture }: Profile): boolean {
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

/** All that can make a difference to what a job comes to. The profile's digest covers tenant, wall, image and limits. */
function keyOf({ tenant, asked, inputText }: Job, { digest }: Profile): string {
  const { code, name, files, args, env, stdin, artifacts, calls } = asked
  const source = [code, name, inputText, files]
  const surroundings = [args, canonicalJson(env), stdin, asked.input === undefined]
  const parts = [tenant, digest, ...source, surroundings, artifacts, calls?.length]
  return sha256(JSON.stringify(parts))
}

/** Undefined for what may not be given again: another end than ok, less than all of it, or one that reached out. */
function keptOf(job: Job, lived: LifeResult, at: number): KeptOutcome | undefined {
  const { status, result = null, encoding = 'json', stdout = '', stderr = '', claim, end } = lived
  const { truncated, calls, artifacts, display } = lived
  if (status !== 'ok' || !claim || !end || !truncated) return undefined
  if (truncated.stdout || truncated.stderr) return undefined
  if (calls?.some((call) => call.status !== 'ok') || (end.network ?? []).length > 0)
    return undefined
  const told: Told = {
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
  const files = end.artifacts.reduce((sum, { bytes }) => sum + bytes.length, 0)
  return {
    id: job.id,
    at,
    bytes: json.length + end.resultText.length + files + OVERHEAD_BYTES,
    json,
    provider: claim.sandbox.provider,
    image: claim.sandbox.image,
    end: { ...withoutMemory(end), cpuTime: 0 },
  }
}

/** A hit costs nothing, and says so. */
function withoutMemory({ memory: _memory, ...end }: TaskEnd): TaskEnd {
  return end
}
