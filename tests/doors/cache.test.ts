import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test as always } from 'node:test'
import { openLog } from '../../src/evidence/log-reader.ts'
import { Mayfly, outcomeSchema, type JobRequest } from '../../src/index.ts'
import { test } from '../fixtures/drawn.ts'
import { bearer, post } from './http-door.ts'
import { makePlace, mayfly, startServer, whenReady } from './program.ts'

const place = makePlace()
const state = join(place.state, 'library')
let library: Mayfly

before(async () => {
  library = await Mayfly.open({ state, tenants: [{ name: 'other' }] })
})
after(async () => {
  await library.close()
  place.remove()
})

/** Returns another value each time it runs. */
const fresh = 'console.log("ran"); return crypto.randomUUID()'
const ask = (more: Partial<JobRequest> = {}, tenant = 'default') =>
  library.run({ code: fresh, idempotent: true, ...more }, { tenant })

/** Points of the events of a run in the record. */
function recorded(run: string): readonly string[] {
  using log = openLog(join(state, 'audit.db'))
  return log
    .last(1000, run)
    .map(({ kind, bodyText }) =>
      kind === 'event' ? (JSON.parse(bodyText) as { point: string }).point : kind,
    )
}

suite('Cached outcomes of idempotent jobs', () => {
  test('S4-56: A hit returns the same bytes, names the run that made them, and has its own lines in the record', async () => {
    const first = await ask({ input: 1 })
    const heard: string[] = []
    const again = await library.run(
      { code: fresh, idempotent: true, input: 1 },
      { tap: (stream, text) => void heard.push(`${stream} ${text}`) },
    )
    assert.equal(JSON.stringify(again.result), JSON.stringify(first.result))
    assert.deepEqual([again.stdout, again.stderr], [first.stdout, first.stderr])
    assert.deepEqual([first.metrics.cache, again.metrics.cache], ['miss', 'hit'])
    assert.equal(first.cachedFrom, undefined)
    assert.equal(again.cachedFrom?.id, first.id)
    assert.notEqual(again.id, first.id)
    assert.deepEqual(heard, ['stdout ran\n'])
    assert.deepEqual(
      [again.stdout, again.tier, again.provider, again.metrics.executionTime],
      ['ran\n', 'isolate', 'isolated-vm', 0],
    )
    assert.deepEqual(outcomeSchema.parse(again), again)
    assert.deepEqual(recorded(again.id), ['admitted', 'cache/hit', 'ended'])
    assert.deepEqual(recorded(first.id), ['admitted', 'ended'])
    using log = openLog(join(state, 'audit.db'))
    const hit = log.last(1000, again.id).find(({ kind }) => kind === 'event')
    const { from, bytes } = (JSON.parse(hit!.bodyText) as { fields: Record<string, number> }).fields
    assert.equal(from, first.id)
    assert.ok(bytes! >= Buffer.byteLength(JSON.stringify(again.result) + again.stdout), `${bytes}`)
  })

  always(
    'S4-56: A job not declared idempotent runs each time, and tenants share no results',
    async () => {
      const plain = await ask({ input: 2, idempotent: false })
      assert.equal(plain.metrics.cache, 'none')
      assert.notEqual((await ask({ input: 2, idempotent: false })).result, plain.result)
      const mine = await ask({ input: 2 })
      const theirs = await ask({ input: 2 }, 'other')
      assert.equal(theirs.metrics.cache, 'miss')
      assert.notEqual(theirs.result, mine.result)
      const kept = await ask({ input: 2 })
      assert.deepEqual([kept.metrics.cache, kept.result], ['hit', mine.result])
      const again = await library.run({ code: fresh, input: 2 })
      assert.equal(again.metrics.cache, 'none')
      assert.ok(![plain, mine, theirs].some(({ result }) => result === again.result))
    },
  )

  test('S4-56: Concurrent requests for the same job run it once', async () => {
    const all = await Promise.all(Array.from({ length: 25 }, () => ask({ input: 3 })))
    assert.equal(new Set(all.map(({ result }) => result)).size, 1)
    assert.equal(typeof all[0]!.result, 'string')
    assert.equal(all.filter(({ metrics }) => metrics.cache === 'miss').length, 1)
  })

  test('A job that did not end ok is not cached, and runs again', async () => {
    const code = 'throw new Error("no")'
    assert.equal((await ask({ code })).status, 'error')
    assert.equal((await ask({ code })).metrics.cache, 'miss')
  })

  test('A job with other limits, another wall or other files is another cache entry', async () => {
    await ask({ input: 4 })
    const others = await Promise.all([
      ask({ input: 4, limits: { timeout: 4000 } }),
      ask({ input: 4, provider: 'mock' }),
      ask({ input: 4, files: [{ path: 'a.txt', content: 'a' }] }),
    ])
    assert.deepEqual(
      others.map(({ metrics }) => metrics.cache),
      ['miss', 'miss', 'miss'],
    )
  })

  test('The result of a whole batch is cached', async () => {
    const calls = [{ input: 1 }, { input: 2 }]
    const first = await ask({ calls })
    const again = await ask({ calls })
    assert.equal(again.metrics.cache, 'hit')
    assert.deepEqual(again.calls, first.calls)
  })

  always('A cached result that the configuration forbids by now is not returned', async () => {
    await ask({ input: 5 })
    assert.equal((await ask({ input: 5 })).metrics.cache, 'hit')
    library.override({ limits: { memory: '64MB' } })
    assert.equal((await ask({ input: 5 })).metrics.cache, 'miss')
    library.override({ tenants: { other: { floor: 'microvm' } } })
    const refused = await ask({ input: 2 }, 'other')
    assert.deepEqual([refused.status, refused.result], ['unavailable', null])
  })

  test('A cached result of signed code is not returned once its signer is revoked', async () => {
    const own = makePlace()
    try {
      const at = (name: string) => join(own.cwd, name)
      const keys = (...args: readonly string[]) => mayfly(own, ['keys', ...args])
      writeFileSync(at('job.js'), fresh)
      writeFileSync(at('only.toml'), '[signing]\nrequired = true\n')
      await keys('generate', at('ada.key'))
      await keys('trust', at('ada.key.pub'), '--name', 'ada')
      await keys('sign', at('job.js'), '--key', at('ada.key'), '--out', at('sig'))
      const signature = JSON.parse(readFileSync(at('sig'), 'utf8')) as unknown
      await using server = await startServer(own, ['--config', at('only.toml')])
      await whenReady(server)
      const url = new URL('/v1/executions', server.active).href
      const job = { code: fresh, signature, idempotent: true }
      const first = await post(url, job, bearer(server.apiKey))
      const again = await post(url, job, bearer(server.apiKey))
      assert.deepEqual(
        [again.json['metrics'].cache, again.json['result']],
        ['hit', first.json['result']],
      )
      await keys('revoke', 'ada')
      const after = await post(url, job, bearer(server.apiKey))
      assert.deepEqual([after.status, after.json['code']], [403, 'SIGNER_UNKNOWN'])
      assert.equal(after.json['outcome'].result, null)
    } finally {
      own.remove()
    }
  })
})
