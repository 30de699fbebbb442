import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jobOf } from '../../tests/fixtures/profile-world.ts'
import { profileOf } from '../../tests/sim/simulated-life.ts'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { allControls, noFiles, noNetwork } from '../contract/controls.ts'
import type { Job, JobRequest } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { LifeResult } from '../contract/pipeline.ts'
import { ResultCache } from './result-cache.ts'

const closed = { ...allControls, network: noNetwork, files: noFiles, capabilities: [] }
const profile = profileOf({ controls: closed })
const never = new AbortController().signal
let jobs = 0

function world(bytes = 2 ** 20) {
  const clock = new SimulatedClock()
  const said: string[] = []
  const cache = new ResultCache({
    clock,
    emitter: { emit: (point) => void said.push(point) },
    bounds: () => ({ bytes, age: 1000 }),
  })
  let runs = 0
  const ask = (
    job: Job,
    { lived = livedOf(), run, signal = never, made = profile }: Partial<Asked> = {},
  ) => {
    return cache.recall(job, made, { signal }, async () => {
      runs++
      return run ? await run() : lived
    })
  }
  return { clock, said, cache, ask, runs: () => runs }
}

interface Asked {
  readonly lived: LifeResult
  readonly run: () => Promise<LifeResult>
  readonly signal: AbortSignal
  readonly made: Profile
}

function job(asked: JobRequest = {}, more: Partial<Job> = {}): Job {
  return { ...jobOf({ idempotent: true, ...asked }), id: `exec_${++jobs}`, ...more }
}

function livedOf(more: Partial<LifeResult> = {}): LifeResult {
  return {
    status: 'ok',
    result: { n: 1 },
    encoding: 'json',
    stdout: 'said\n',
    stderr: '',
    truncated: { stdout: false, stderr: false },
    artifacts: [],
    claim: {
      sandbox: { provider: 'isolated-vm', image: 'builtin', pool: 'hit' },
      queueTime: 0,
      startTime: 0,
    },
    end: { status: 'ok', resultText: '{"n":1}', encoding: 'json', cpuTime: 3, artifacts: [] },
    ...more,
  }
}

test('S4-56: an equal idempotent job gets the cached result, with its source', async () => {
  const { ask, runs, clock, said } = world()
  const first = job()
  const lived = await ask(first)
  await clock.run(400)
  const again = await ask(job())
  assert.equal(runs(), 1)
  assert.deepEqual([lived.cache, again.cache], ['miss', 'hit'])
  assert.deepEqual(again.cachedFrom, { id: first.id, age: 400 })
  assert.deepEqual([again.result, again.stdout], [{ n: 1 }, 'said\n'])
  assert.deepEqual(said, ['cache/miss', 'cache/hit'])
})

test('Modifying a returned result does not change the cached one', async () => {
  const { ask } = world()
  const lived = await ask(job())
  ;(lived.result as { n: number }).n = 2
  const hit = await ask(job())
  ;(hit.result as { n: number }).n = 3
  assert.deepEqual((await ask(job())).result, { n: 1 })
})

test('S4-56: a different tenant, input, code, file, call or profile is a miss', async () => {
  const { ask, runs } = world()
  await ask(job())
  const base = jobOf({ idempotent: true })
  const others: readonly (readonly [Job, Profile])[] = [
    [job({}, { tenant: 'other' }), profile],
    [job({}, { inputText: '1' }), profile],
    [job({}, { asked: { ...base.asked, code: '2' } }), profile],
    [job({ files: [{ path: 'a', content: 'b' }] }), profile],
    [job({ files: [{ path: 'a', content: 'c' }] }), profile],
    [job({ files: [{ path: 'c', content: 'b' }] }), profile],
    [job({ calls: [{}] }), profile],
    [job({ calls: [{}, {}] }), profile],
    [job(), { ...profile, digest: 'sha256:1' }],
    // A guess and the same entry asked have one profile.
    [job({ entry: 'module' }), profile],
  ]
  for (const expected of ['miss', 'hit'])
    for (const [other, made] of others)
      assert.equal((await ask(other, { made })).cache, expected, JSON.stringify(other))
  assert.equal(runs(), 1 + others.length)
  assert.equal((await ask(job())).cache, 'hit')
})

test('Jobs not declared idempotent, or with access to the outside, always run', async () => {
  const { ask, runs } = world()
  const open = profileOf({ controls: { ...closed, network: allControls.network } })
  const filing = profileOf({ controls: { ...closed, files: allControls.files } })
  const calling = profileOf({ controls: { ...closed, capabilities: ['mail.send'] } })
  for (let n = 0; n < 2; n++) {
    assert.equal((await ask(job({ idempotent: false }))).cache, undefined)
    await ask(job(), { made: open })
    await ask(job(), { made: calling })
    await ask(job(), { made: filing })
    await ask(job({ shadow: 'wasm' }))
    await ask(job(), { made: profileOf({ controls: closed, capture: true }) })
  }
  assert.equal(runs(), 12)
})

test('Only complete outcomes with status ok are cached', async () => {
  const { ask, runs, cache } = world()
  const network = [
    { host: 'a.example', port: 443, verdict: 'allowed', sent: 1, received: 1 },
  ] as const
  const ends: readonly Partial<LifeResult>[] = [
    { status: 'error' },
    { status: 'timeout' },
    { status: 'refused' },
    { truncated: { stdout: true, stderr: false } },
    { stderr: 'not UTF-8: \ufffd' },
    { end: { ...livedOf().end!, network } },
    { calls: [{ status: 'error', result: null, encoding: 'json', executionTime: 0 }] },
  ]
  for (const more of ends) await ask(job(), { lived: livedOf(more) })
  assert.equal(runs(), ends.length)
  assert.equal(cache.bytes, 0)
})

test('S4-56: concurrent equal jobs run once and share the result', async () => {
  const { ask, runs } = world()
  const { promise, resolve } = Promise.withResolvers<LifeResult>()
  const all = Array.from({ length: 20 }, () => ask(job(), { run: () => promise }))
  resolve(livedOf())
  const lived = await Promise.all(all)
  assert.equal(runs(), 1)
  assert.deepEqual(
    lived.map(({ cache }) => cache),
    ['miss', ...Array.from({ length: 19 }, () => 'hit')],
  )
})

test('If the first is cancelled, one of the waiters runs instead', async () => {
  const { ask, runs } = world()
  const first = Promise.withResolvers<LifeResult>()
  const leader = ask(job(), { run: () => first.promise })
  const rest = [ask(job()), ask(job()), ask(job())]
  first.resolve({ status: 'cancelled' })
  assert.equal((await leader).status, 'cancelled')
  assert.deepEqual(
    (await Promise.all(rest)).map(({ cache }) => cache),
    ['miss', 'hit', 'hit'],
  )
  assert.equal(runs(), 2)
})

test('If the first fails, each waiter runs by itself', async () => {
  const { ask, runs } = world()
  const first = Promise.withResolvers<LifeResult>()
  const leader = ask(job(), { run: () => first.promise })
  const rest = [ask(job(), { lived: livedOf({ status: 'error' }) }), ask(job())]
  first.reject(new Error('no place'))
  await assert.rejects(leader, /no place/)
  const [bad, good] = await Promise.all(rest)
  assert.deepEqual([bad?.status, good?.status], ['error', 'ok'])
  assert.equal(runs(), 3)
})

test('A waiter can give up without stopping the run', async () => {
  const { ask } = world()
  const first = Promise.withResolvers<LifeResult>()
  const leader = ask(job(), { run: () => first.promise })
  const controller = new AbortController()
  const waiting = ask(job(), { signal: controller.signal })
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  first.resolve(livedOf())
  assert.equal((await leader).status, 'ok')
})

test('A cache of zero capacity stores and shares nothing', async () => {
  const { ask, runs } = world(0)
  await Promise.all([ask(job()), ask(job())])
  assert.equal(runs(), 2)
})
