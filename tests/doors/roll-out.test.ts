import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { isMissing } from '../walls/process-stands.ts'
import { bearer, call, post } from './http-door.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady, type Server } from './program.ts'

/** Migration to a stronger wall, as an operator does it: shadow runs, a comparison, then the switch. */
const [older, newer] = ['isolated-vm', 'embedded']
/** Jobs for either wall; the result of the last is different each time. */
const jobs = [
  { code: 'return input.n * 2', input: { n: 21 } },
  { code: 'console.log("said"); return [1, { a: new Date(0) }]' },
  { code: 'throw new TypeError("no")' },
  { code: 'return crypto.randomUUID()' },
] as const

suite('A gradual roll-out', () => {
  const place = makePlace()
  let server: Server
  before(async () => {
    server = await startServer(place)
    await whenReady(server)
  })
  after(async () => {
    await server.stop()
    place.remove()
  })

  const run = async (job: object) => {
    const url = new URL('/v1/executions', server.active).href
    const { status, json, text } = await post(url, job, bearer(server.apiKey))
    assert.equal(status, 200, text)
    return json
  }
  const compared = async () => {
    const lines = documentOf(
      await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
    ) as unknown as {
      readonly run: string
      readonly body: Record<string, any>
    }[]
    return lines.filter(({ body }) => body['point'] === 'shadow/compared')
  }

  test('S4-49: old and new wall run side by side, differences are reported, and callers change nothing for the switch', async (t) => {
    if (isMissing(t, { jailKind: 'embedded' })) return
    const before = []
    for (const job of jobs) before.push(await run({ ...job, shadow: 'process' }))
    assert.deepEqual(
      before.map(({ provider, shadow }) => [provider, shadow.ran, shadow.same]),
      jobs.map((_, place) => [older, true, place < jobs.length - 1]),
    )
    assert.ok(before.every(({ shadow }) => ['bubblewrap', 'embedded'].includes(shadow.provider)))
    const [found] = before.at(-1)!['shadow'].differences
    assert.equal(found.field, 'result')

    const report = await compared()
    assert.deepEqual(
      report.map(({ run, body }) => [run, body['fields'].same, body['fields'].differs]),
      before.map(({ id, shadow }) => [id, shadow.same, shadow.same ? [] : ['result']]),
    )
    assert.ok(report.every(({ body }) => body['fields'].tier === 'process'))

    const { status } = await call(new URL('/v1/providers/default', server.active).href, {
      method: 'PUT',
      headers: { 'content-type': 'application/json', ...bearer(server.apiKey) },
      body: JSON.stringify({ name: newer }),
    })
    assert.equal(status, 200)
    for (const [place, job] of jobs.entries()) {
      const now = await run(job)
      assert.deepEqual([now['provider'], now['status']], [newer, before[place]!['status']])
      if (place < jobs.length - 1) assert.deepEqual(now['result'], before[place]!['result'])
    }
    assert.equal((await compared()).length, jobs.length)
  })
})
