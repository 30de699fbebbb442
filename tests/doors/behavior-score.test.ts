import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext } from 'node:test'
import { assemble, type Assembly } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { TimelineEntry } from '../../src/contract/event.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import type { Provider } from '../../src/contract/provider.ts'
import { newJob } from '../../src/job.ts'
import { MayflyClient } from '../../src/sdk/client.js'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady } from './program.ts'

/** Makes as many refused connections as each number of its input says, and sleeps after each burst, in milliseconds. */
const knocks = `let refused = 0
  for (const [times, rest] of input) {
    for (let n = 0; n < times; n++) {
      try { await fetch('https://h' + n + '.example.org/') } catch { refused++ }
    }
    await new Promise((done) => setTimeout(done, rest))
  }
  return refused`
const asked = {
  code: knocks,
  language: 'js' as const,
  network: { allow: ['api.example.com'] },
  limits: { timeout: '20s' },
}
/** Beside the thresholds of `denied-burst`: far below the one, between the two, far above both. */
const calmly = [2, 100]
const often = [40, 100]
const withoutEnd = [1000, 0]

const scoresOf = (timeline: readonly TimelineEntry[]) =>
  timeline.flatMap(({ event, fields }) => (event === 'anomaly' ? [fields?.['behaviorScore']] : []))

const upwards = (a: unknown, b: unknown) => Number(a) - Number(b)
const textOf = ({ outcome }: { readonly outcome: Outcome }) => JSON.stringify(outcome)

suite('The behavior score of a run', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-behavior-'))
  const { config } = loadConfig({ object: { state: join(folder, 'state') }, env: {}, cwd: folder })
  let assembly: Assembly

  before(async () => {
    assembly = assemble({
      config,
      warden: await startWarden({ stateFolder: config.state }),
      kind: 'library',
    })
  })
  after(async () => {
    await assembly[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const live = async (tier: 'isolate' | 'process', input: readonly (readonly number[])[]) => {
    const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
    const told: TimelineEntry[] = []
    const job = newJob({ ...asked, tier, input }, who, systemClock)
    const { signal } = new AbortController()
    const outcome = await assembly.run(job, { signal, on: (entry) => void told.push(entry) })
    return { outcome, told }
  }
  /** Skips if no process wall has a network; fails in CI, where all walls must be available. */
  const isMissing = async (t: TestContext): Promise<boolean> => {
    const all = await assembly.providers()
    const isOf = ({ tier, can }: Provider) => tier === 'process' && can.includes('network')
    if (all.some(({ provider, availability }) => availability.available && isOf(provider)))
      return false
    assert.notEqual(process.env['CI'], 'true', 'no process wall')
    t.skip('no process wall here')
    return true
  }
  const scoreOf = ({ outcome }: { readonly outcome: Outcome }) => outcome.security.behaviorScore

  for (const tier of ['isolate', 'process'] as const)
    test(`S3-40: More anomalies of a program in the tier ${tier} give a higher score`, async (t) => {
      if (tier === 'process' && (await isMissing(t))) return
      const calm = await live(tier, [calmly])
      assert.deepEqual([calm.outcome.status, scoreOf(calm)], ['ok', 0], textOf(calm))
      const odd = await live(tier, [often])
      assert.equal(odd.outcome.status, 'ok', textOf(odd))
      assert.ok(scoreOf(odd) >= 40 && scoreOf(odd) < 70, textOf(odd))
      const bad = await live(tier, [often, withoutEnd])
      assert.equal(bad.outcome.status, 'terminated', textOf(bad))
      assert.ok(scoreOf(bad) >= 70, textOf(bad))
      for (const { outcome, told } of [calm, odd, bad]) {
        // The source is the same, so its verdict is too.
        assert.equal(outcome.security.threatScore, calm.outcome.security.threatScore)
        assert.deepEqual(scoresOf(told), scoresOf(outcome.timeline))
      }
      const scores = scoresOf(bad.told)
      assert.ok(scores.length > 1)
      assert.deepEqual(scores, scores.toSorted(upwards))
      assert.equal(scores.at(-1), scoreOf(bad))
    })
})

suite('The entry points report the behavior score', () => {
  const place = makePlace()
  after(() => place.remove())
  const key = 'mfy_behavior_0123456789abcdefghijklmno'

  test('The command line prints it with each anomaly and in its last line, and prints none without an anomaly', async () => {
    writeFileSync(join(place.cwd, 'knock.js'), knocks)
    const ran = (times: readonly number[]) => {
      const input = JSON.stringify([times])
      const asks = ['--language', 'js', '--allow', 'api.example.com', '--timeout', '20s']
      return mayfly(place, ['run', 'knock.js', ...asks, '--input', input, '--watch'])
    }
    const odd = await ran(often)
    assert.match(odd.stderr, /anomaly {2}medium: .* refusals within .* \(behavior 40\)$/m)
    assert.match(odd.stderr, /^ok · .* · behavior 4\d · /m)
    assert.doesNotMatch((await ran(calmly)).stderr, /behavior/)
  })

  test('S3-40: The stream, the sandbox view, the threats and the record contain it, and the record verifies', async () => {
    const seen: number[] = []
    let ended: Outcome | undefined
    let inside: unknown
    {
      await using server = await startServer(place, [], { MAYFLY_API_KEY: key })
      await whenReady(server)
      const get = async (path: string): Promise<any> => {
        const headers = { authorization: `Bearer ${key}` }
        return (await fetch(new URL(path, server.active), { headers })).json()
      }
      const client = new MayflyClient({ url: server.active, key })
      // The job pauses, so that a slow request for its sandbox still finds it alive.
      const job = { ...asked, input: [[40, 3000], withoutEnd] }
      for await (const { event, data } of client.stream(job)) {
        if (event === 'outcome') ended = data
        if (event !== 'event' || data.event !== 'anomaly') continue
        if (seen.length === 0) inside = (await get('/v1/sandboxes')).items[0]?.behaviorScore
        seen.push(Number(data.fields?.['behaviorScore']))
      }
      const threats = (await get('/v1/threats')) as { behaviorScore?: number }[]
      assert.deepEqual(
        threats.flatMap(({ behaviorScore }) => behaviorScore ?? []),
        seen,
      )
      const [row] = (await client.list({ limit: 1 })).items
      assert.equal(row?.behaviorScore, seen.at(-1))
    }
    assert.ok(seen.length > 1 && seen[0]! < seen.at(-1)!, seen.join())
    assert.deepEqual(seen, seen.toSorted(upwards))
    assert.equal(inside, seen[0])
    assert.equal(ended?.security.behaviorScore, seen.at(-1))
    const lines = documentOf(await mayfly(place, ['audit', 'list', '--run', ended!.id, '--json']))
    const line = lines['find'](({ kind }: { kind: string }) => kind === 'ended')
    assert.equal(line.body.behaviorScore, seen.at(-1))
    assert.equal((await mayfly(place, ['audit', 'verify'])).code, 0)
  })
})
