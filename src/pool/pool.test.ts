import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { systemClock } from '../contract/clock.ts'
import type { Provider, Sandbox } from '../contract/provider.ts'
import { Pool } from './pool.ts'

const MiB = 2 ** 20

test("A sleeping job counts with its wall's memory and the bytes the server holds for it", async () => {
  const sandbox = { wall: 'w', heldBytes: 250 * MiB, [Symbol.asyncDispose]: async () => undefined }
  const looks = new EventTarget()
  const budget = { memory: 300 * MiB, runnable: 4, queueMax: 4, waitMsMax: 60_000 }
  const pool = new Pool({
    clock: systemClock,
    emitter: { emit: () => undefined },
    budget: { ...budget, isOneAlone: true },
    provider: () => ({ launch: async () => sandbox as unknown as Sandbox }) as unknown as Provider,
    loads: async () => {
      looks.dispatchEvent(new Event('look'))
      return { atMs: performance.now(), walls: [{ wall: 'w', bytes: MiB, cpuMs: 0 }] }
    },
  })
  const signal = AbortSignal.timeout(30_000)
  const profile = { provider: 'played', controls: { memory: 200 * MiB } } as never
  const job = { tenant: 't' } as never
  await using _first = await pool.acquire(profile, job, signal)
  let isIn = false
  const second = pool.acquire(profile, job, signal).then((claim) => ((isIn = true), claim))
  for (let look = 0; look < 8; look++)
    await new Promise((then) => looks.addEventListener('look', then, { once: true }))
  assert.equal(isIn, false)
  sandbox.heldBytes = 0
  await using _second = await second
  assert.equal(isIn, true)
})

test('Queue, claim, refusal, start and end of a wall are events of their job', async () => {
  const events: unknown[][] = []
  const emitter = {
    emit: (point: string, fields: object, { run }: { run: string }) =>
      void events.push([run, point, fields]),
  }
  const receipt = { id: 'w', took: 2, freedBytes: 7, forced: ['SIGKILL'] }
  const wall = { id: 'w', provider: 'played', pool: 'miss', receipt }
  let destroys = true
  const dispose = async () => {
    if (!destroys) throw new Error('it is stuck')
  }
  const launch = async () => ({ ...wall, [Symbol.asyncDispose]: dispose }) as never
  const pool = new Pool({
    clock: systemClock,
    emitter: emitter as never,
    budget: { memory: 100 * MiB, runnable: 4, queueMax: 1, waitMsMax: 60_000, isOneAlone: true },
    provider: () => ({ launch }) as unknown as Provider,
    loads: async () => ({ atMs: performance.now(), walls: [] }),
  })
  const profile = { provider: 'played', tier: 'process', controls: { memory: 100 * MiB } } as never
  const acquire = (id: string, tenant = 't') =>
    pool.acquire(profile, { id, tenant } as never, AbortSignal.timeout(30_000))
  const first = await acquire('a')
  const second = acquire('b')
  await assert.rejects(acquire('c'), { code: 'OVERLOADED' })
  await first[Symbol.asyncDispose]()
  const claim = await second
  destroys = false
  await assert.rejects(async () => await claim[Symbol.asyncDispose](), /stuck/)

  const of = (run: string) => events.filter(([id]) => id === run).map(([, point]) => point)
  assert.deepEqual(of('a'), ['pool/claimed', 'tier/launched', 'tier/destroyed'])
  assert.deepEqual(of('b'), ['pool/queued', 'pool/claimed', 'tier/launched', 'tier/lost'])
  assert.deepEqual(of('c'), ['pool/refused'])
  const told = events.find(([, point]) => point === 'tier/destroyed')![2]
  const { at, ...destroyed } = told as { readonly at: number }
  assert.ok(at > 0)
  assert.deepEqual(destroyed, {
    provider: 'played',
    tier: 'process',
    sandbox: 'w',
    took: 2,
    freedBytes: 7,
    forced: ['SIGKILL'],
  })
  const { took, freedBytes, forced } = first.destroyed!
  assert.deepEqual([took, freedBytes, forced], [2, 7, ['SIGKILL']])
})

test('Sleeping jobs of a second burst count as sleeping, although no wall of the first burst is left', async () => {
  const live = new Set<string>()
  let made = 0
  const launch = async () => {
    const wall = `w${made++}`
    live.add(wall)
    return { wall, [Symbol.asyncDispose]: async () => void live.delete(wall) }
  }
  const pool = new Pool({
    clock: systemClock,
    emitter: { emit: () => undefined },
    budget: {
      memory: 2 ** 40,
      runnable: 2,
      queueMax: 100,
      waitMsMax: 60_000,
      isOneAlone: true,
    },
    provider: () => ({ launch }) as unknown as Provider,
    loads: async () => ({
      atMs: performance.now(),
      walls: [...live].map((wall) => ({ wall, bytes: MiB, cpuMs: 0 })),
    }),
  })
  const signal = AbortSignal.timeout(30_000)
  const profile = { provider: 'played', controls: { memory: MiB } } as never
  const job = { tenant: 't' } as never
  for (let burst = 0; burst < 2; burst++) {
    const claims = await Promise.all(
      Array.from({ length: 6 }, () => pool.acquire(profile, job, signal)),
    )
    assert.equal(live.size, 6)
    for (const claim of claims) await claim[Symbol.asyncDispose]()
  }
})

test('A page visitor whose jobs are ended by force waits without delaying other visitors, and a session occupies no probation slot', async () => {
  const clock = new SimulatedClock()
  const budget = { memory: 900 * MiB, runnable: 64, queueMax: 9, waitMsMax: 60_000 }
  const wall = { provider: 'played', [Symbol.asyncDispose]: async () => undefined }
  const launchedBehind: boolean[] = []
  const launch = async (...[, , hints]: Parameters<Provider['launch']>) => {
    launchedBehind.push(hints?.isBehind === true)
    return wall
  }
  const pool = new Pool({
    clock,
    emitter: { emit: () => undefined },
    budget,
    provider: () => ({ launch }) as unknown as Provider,
    loads: async () => ({ atMs: 0, walls: [] }),
    probationPlaces: 1,
  })
  const profile = { provider: 'played', controls: { memory: MiB } } as never
  const jobOf = (principal: string) =>
    ({ id: principal, tenant: 'page', principal, origin: 'page' }) as never
  const entered: string[] = []
  const acquire = (principal: string, isSession = false) => {
    const claim = pool.acquire(profile, jobOf(principal), AbortSignal.timeout(30_000), {
      isSession,
    })
    void claim.then(() => entered.push(principal))
    return claim
  }
  const pass = (ms: number) => clock.run(clock.now() + ms)
  for (let n = 0; n < 3; n++) pool.noteEnd(jobOf('loops'), 'timeout')
  await acquire('good')
  const first = acquire('loops')
  const second = acquire('loops', true)
  const third = acquire('loops')
  await acquire('good')
  await pass(100)
  assert.deepEqual(entered, ['good', 'loops', 'good'])
  assert.deepEqual(launchedBehind, [false, true, false])
  assert.equal(pool.waiting, 2)
  await (await first)[Symbol.asyncDispose]()
  for (let n = 0; n < 3; n++) {
    await acquire('good')
    await pass(1_001)
  }
  await Promise.all([second, third])
  assert.equal(entered.filter((one) => one === 'loops').length, 3)
})

test('A job on probation that waited for a wall lets those go first that came meanwhile', async () => {
  const clock = new SimulatedClock()
  const launched: string[] = []
  const launch = async ({ tenant }: { tenant: string }) => {
    launched.push(tenant)
    return { provider: 'played', [Symbol.asyncDispose]: async () => undefined }
  }
  const pool = new Pool({
    clock,
    emitter: { emit: () => undefined },
    budget: { memory: 900 * MiB, runnable: 4, queueMax: 9, waitMsMax: 60_000 },
    provider: () => ({ launch }) as unknown as Provider,
    probationPlaces: 1,
  })
  const acquire = (tenant: string) => {
    const profile = { provider: 'played', tenant, controls: { memory: MiB } } as never
    const job = { id: tenant, tenant, origin: 'api' } as never
    return pool.acquire(profile, job, AbortSignal.timeout(30_000))
  }
  const bad = ['bad-1', 'bad-2', 'bad-3', 'bad-4', 'bad-5']
  for (const tenant of bad)
    for (let n = 0; n < 4; n++) pool.noteEnd({ tenant, origin: 'api' } as never, 'timeout')
  const claims = await Promise.all(bad.slice(0, 4).map(acquire))
  const waits = acquire('bad-5')
  const good = acquire('good')
  await clock.run(clock.now() + 100)
  await claims[0]![Symbol.asyncDispose]()
  await claims[1]![Symbol.asyncDispose]()
  await good
  assert.deepEqual(launched.slice(4), ['good'], 'the one that waited gave its place back')
  for (const claim of claims.slice(2)) await claim[Symbol.asyncDispose]()
  await clock.run(clock.now() + 2_000)
  await waits
  assert.equal(launched.at(-1), 'bad-5')
})

test('A job with code whose last run was ended by force comes behind others, and one whose code is not known does not', async () => {
  const pool = new Pool({
    clock: new SimulatedClock(),
    emitter: { emit: () => undefined },
    budget: { memory: 900 * MiB, runnable: 64, queueMax: 9, waitMsMax: 60_000 },
    provider: () => ({ launch }) as unknown as Provider,
  })
  const launched: unknown[] = []
  const launch = async (...[, , hints]: Parameters<Provider['launch']>) => {
    launched.push(hints)
    return { provider: 'played', [Symbol.asyncDispose]: async () => undefined }
  }
  const profile = { provider: 'played', controls: { memory: MiB } } as never
  const run = async (code?: string) => {
    const job = { id: 'j', tenant: 't', origin: 'api' } as never
    await pool.acquire(profile, job, AbortSignal.timeout(30_000), code ? { code } : {})
    return job
  }
  pool.noteEnd(await run('loop'), 'limit', 'loop')
  for (const code of ['loop', 'other', undefined]) await run(code)
  assert.deepEqual(
    launched,
    [false, true, false, false].map((isBehind) => ({
      isShort: false,
      ...(isBehind && { isBehind }),
    })),
  )
})
