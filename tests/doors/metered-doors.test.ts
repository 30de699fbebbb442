import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, suite, test } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import { MayflyError } from '../../src/contract/error.ts'
import type { QuotaCeilings } from '../../src/gateway/http/quota-bucket.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { OpenQuotas } from '../../src/gateway/http/quota.ts'
import { openQuotaStore } from '../../src/gateway/http/quota-store.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { OpenSessions } from '../../src/sessions/open-sessions.ts'
import { SimulatedClock } from '../sim/simulated-clock.ts'
import { bearer, endOf, openDoor, post, type TestDoor } from './http-door.ts'

/** Milliseconds of analysis that the pipeline stub charges for a job. */
let analysisMs = 0

/** A pipeline stub whose jobs leave one artifact. */
const leaving: RunJob = async (taken, { files }) => {
  taken.account?.charge(analysisMs)
  const bytes = Buffer.alloc(200_000)
  const one = { path: 'made.bin', size: bytes.length, sha256: sha256(bytes) }
  files?.([{ path: one.path, bytes }])
  return endOf(taken, { artifacts: [one] })
}

/** Requests that cost CPU time without a job: analyses, registrations, calls inside the server process. */
suite('Work without a job is within the quotas of its tenant', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-metered-'))
  let door: TestDoor
  let ceilings: QuotaCeilings = {}
  let analysed = 0
  let tookMs = 0
  const clock = new SimulatedClock()
  let file = 0

  beforeEach(async () => {
    await door?.[Symbol.asyncDispose]()
    analysed = 0
    tookMs = 0
    analysisMs = 0
    const store = openQuotaStore(join(folder, `${file++}.db`), clock.date())
    const split = { zones: [], residual: [], calls: [] }
    const risk = { threatScore: 0, risk: 0, severity: 'low', areas: [], split }
    door = await openDoor({
      road: leaving,
      quotas: new OpenQuotas({ ceilings: () => ceilings, store, clock: systemClock }),
      analyseZones: async () => {
        analysed++
        const end = performance.now() + tookMs
        while (performance.now() < end) continue
        return { risk, zones: [] }
      },
    })
  })
  after(async () => {
    await door[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  const code = 'return 1'
  const doors: readonly (readonly [path: string, body: object])[] = [
    ['/v1/zones/analysis', { code }],
    ['/v1/zones/plan', { code }],
    ['/v1/zones', { code }],
    ['/api/effects/register', { effectId: 'one', code }],
    ['/v1/capabilities/math.add', { args: [1, 2] }],
  ]
  const ask = (path: string, body: object) =>
    post(new URL(path, door.gateway.activeUrl).href, body, bearer(door.key))

  for (const [path, body] of doors)
    test(`${path} is refused with 429 once the jobs of the minute are used up, before it does any work`, async () => {
      ceilings = { runs_per_minute: 2 }
      assert.ok((await ask(path, body)).status < 300)
      // `/v1/zones` takes both: its analysis is one, and its job another.
      const second = await ask(path, body)
      if (path !== '/v1/zones') assert.ok(second.status < 300)
      const before = analysed
      assert.equal(before > 0, path.startsWith('/v1/zones'), 'the served ones analyse')
      for (let n = 0; n < 2; n++) {
        const { status, json, headers } = await ask(path, body)
        assert.deepEqual([status, json['details']], [429, { limit: 'runs_per_minute' }])
        assert.ok(Number(headers.get('retry-after')) >= 1)
      }
      assert.equal(analysed, before)
    })

  test('the time of an analysis is charged as CPU time: two long analyses use up the quota of jobs too', async () => {
    ceilings = { cpu_seconds_per_minute: 0.3 }
    // Analyses that take no time use up nothing of it.
    for (tookMs of [0, 0, 0, 200, 200])
      assert.equal((await ask('/v1/zones/plan', { code })).status, 200)
    for (const path of ['/v1/zones/plan', '/v1/executions']) {
      const { status, json } = await ask(path, { code })
      assert.deepEqual([status, json['details']], [429, { limit: 'cpu_seconds_per_minute' }])
    }
    assert.equal(analysed, 5)
  })

  test('the time of the analysis of a job is charged too, also if the job could not run', async () => {
    ceilings = { cpu_seconds_per_minute: 0.3 }
    for (analysisMs of [0, 0, 200, 200])
      assert.equal((await ask('/v1/executions', { code })).status, 200)
    for (const path of ['/v1/executions', '/v1/zones/plan']) {
      const { status, json } = await ask(path, { code })
      assert.deepEqual([status, json['details']], [429, { limit: 'cpu_seconds_per_minute' }])
    }
    const store = openQuotaStore(join(folder, `${file++}.db`), clock.date())
    await using own = await openDoor({
      quotas: new OpenQuotas({ ceilings: () => ceilings, store, clock: systemClock }),
      road: async ({ account }) => {
        account?.charge(400)
        throw new MayflyError('OVERLOADED', 'Cannot analyse now')
      },
    })
    const run = () => post(`${own.gateway.activeUrl}/v1/executions`, { code }, bearer(own.key))
    assert.deepEqual([(await run()).status, (await run()).status], [503, 429])
  })

  test('the time of the analysis of the files of a session is charged too', async () => {
    const store = openQuotaStore(join(folder, `${file++}.db`), clock.date())
    const held = new OpenSessions({
      clock: systemClock,
      bounds: () => ({ timeout: 1000, idle: 1000, lifetime: 1000 }),
    })
    await using own = await openDoor({
      quotas: new OpenQuotas({
        ceilings: () => ({ cpu_seconds_per_minute: 0.3 }),
        store,
        clock: systemClock,
      }),
      served: {
        held,
        open: async ({ account }) => {
          account?.charge(400)
          throw new MayflyError('UNAVAILABLE', 'Cannot open it')
        },
      },
    })
    const open = () => post(`${own.gateway.activeUrl}/v1/sandboxes`, {}, bearer(own.key))
    assert.deepEqual([(await open()).status, (await open()).status], [503, 429])
  })

  test('the bytes of an analysis count, also if the code is refused', async () => {
    ceilings = { bytes_per_minute: 1000 }
    const large = { code: `return 1 // ${'x'.repeat(2000)}` }
    assert.equal((await ask('/v1/zones/analysis', large)).status, 200)
    assert.equal((await ask('/v1/zones/analysis', { code })).status, 429)
    assert.equal(analysed, 1)
  })

  test('the bytes of an artifact count although nobody reads it', async () => {
    ceilings = { bytes_per_minute: 100_000 }
    const run = () => ask('/v1/executions', { code, artifacts: 'reference' })
    assert.equal((await run()).status, 200)
    const { status, json } = await run()
    assert.deepEqual([status, json['details']], [429, { limit: 'bytes_per_minute' }])
  })

  test('the bytes of an artifact count where it is read again, beside those of its job', async () => {
    ceilings = { bytes_per_minute: 100_000 }
    const { json } = await ask('/v1/executions', { code, artifacts: 'reference' })
    const file = `${door.gateway.activeUrl}/v1/executions/${json['id']}/artifacts/made.bin`
    const read = () => fetch(file, { headers: bearer(door.key) })
    const first = await read()
    assert.equal((await first.arrayBuffer()).byteLength, 200_000)
    const refused = await read()
    const { details } = (await refused.json()) as { readonly details: unknown }
    assert.deepEqual([refused.status, details], [429, { limit: 'bytes_per_minute' }])
    const analysis = await ask('/v1/zones/analysis', { code })
    assert.deepEqual([analysis.status, analysis.json['details']], [429, details])
  })

  test('HEAD of an artifact tells its size, and its bytes do not count', async () => {
    ceilings = { bytes_per_minute: 100_000 }
    const { json } = await ask('/v1/executions', { code, artifacts: 'reference' })
    const file = `${door.gateway.activeUrl}/v1/executions/${json['id']}/artifacts/made.bin`
    for (let n = 0; n < 3; n++) {
      const head = await fetch(file, { method: 'HEAD', headers: bearer(door.key) })
      assert.deepEqual([head.status, head.headers.get('content-length')], [200, '200000'])
    }
    assert.equal((await fetch(file, { headers: bearer(door.key) })).status, 200)
  })

  test('the bytes typed into a terminal count, as those that it prints do', async () => {
    for (const [terminal, next] of [
      [{ sent: 0, received: 0 }, 200],
      [{ sent: 0, received: 200_000 }, 429],
      [{ sent: 200_000, received: 0 }, 429],
    ] as const) {
      const quotas = new OpenQuotas({
        ceilings: () => ({ bytes_per_minute: 100_000 }),
        store: openQuotaStore(join(folder, `${file++}.db`), clock.date()),
        clock: systemClock,
      })
      const road: RunJob = async (taken) => {
        const end = endOf(taken)
        return { ...end, metrics: { ...end.metrics, terminal } }
      }
      await using own = await openDoor({ quotas, road })
      const run = () => post(`${own.gateway.activeUrl}/v1/executions`, { code }, bearer(own.key))
      assert.equal((await run()).status, 200)
      const { status, json } = await run()
      const details = status === 429 ? { limit: 'bytes_per_minute' } : undefined
      assert.deepEqual([status, json['details']], [next, details])
    }
  })

  test('concurrent analyses count as concurrent jobs of their tenant', async () => {
    ceilings = { concurrency: 1 }
    const all = await Promise.all(
      Array.from({ length: 4 }, () => ask('/api/effects/register', { effectId: 'one', code })),
    )
    assert.ok(all.some(({ status }) => status === 200))
    assert.equal((await ask('/v1/zones/plan', { code })).status, 200)
  })
})
