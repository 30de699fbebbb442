import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { MayflyError, UnrecordedEndError } from '../../src/contract/error.ts'
import { forgetExpired, openBodies } from '../../src/evidence/bodies.ts'
import { createHistory } from '../../src/history/history.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { adminKey, bearer, endOf, folder, openDoor, post, type TestDoor } from './http-door.ts'

const otherKey = 'mfy_other_0123456789abcdefghijklmnop'

const run = (door: TestDoor, key: string, body: unknown = { code: '1' }, who = adminKey) =>
  post(`${door.gateway.activeUrl}/v1/executions`, body, { ...bearer(who), 'idempotency-key': key })

test('Requests with the same key and body run one job and get the same outcome', async () => {
  await using door = await openDoor()
  const first = await run(door, 'a')
  const second = await run(door, 'a', '{ "code": "1" }')
  assert.equal(second.text, first.text)
  assert.equal(second.headers.get('idempotent-replayed'), 'true')
  assert.equal(door.jobs.length, 1)
})

test('The same key with another body is refused, also where only a long number differs', async () => {
  await using door = await openDoor()
  await run(door, 'a', '{"code":"1","input":9007199254740993}')
  assert.equal((await run(door, 'a', '{"code":"2"}')).status, 422)
  assert.equal((await run(door, 'a', '{"code":"1","input":9007199254740992}')).status, 422)
  assert.equal(door.jobs.length, 1)
})

test('A hundred concurrent requests run one job, and the others get a response to retry', async () => {
  const go = Promise.withResolvers<void>()
  const road: RunJob = async (job) => go.promise.then(() => endOf(job))
  await using door = await openDoor({ road })
  const answers = Array.from({ length: 100 }, () => run(door, 'race'))
  // The first response is one to retry: the job that runs has not ended yet.
  assert.equal((await Promise.race(answers)).status, 409)
  go.resolve()
  const all = await Promise.all(answers)
  const refused = all.filter(({ status }) => status === 409)
  assert.equal(door.jobs.length, 1)
  assert.ok(refused.length > 0)
  for (const { headers } of refused) assert.equal(headers.get('retry-after'), '1')
  const ids = new Set(all.filter(({ status }) => status === 200).map(({ json }) => json['id']))
  assert.equal(ids.size, 1)
})

test('Requests with one key that wait in one queue run one job, and the later ones get a response to retry', async () => {
  const go = Promise.withResolvers<void>()
  const road: RunJob = async (job) => {
    if (job.asked.name !== 'heavy.js') await go.promise
    return endOf(job)
  }
  await using door = await openDoor({ road })
  // Uses up the time of its tenant, so that all requests after it wait.
  const heavy = `{"code":"1","name":"heavy.js","input":[${'[],'.repeat(150_000)}[]]}`
  const url = `${door.gateway.activeUrl}/v1/executions`
  assert.equal((await post(url, heavy, bearer(adminKey))).status, 200)
  const answers = Array.from({ length: 40 }, (_, n) => run(door, `queue-${Math.floor(n / 2)}`))
  await Promise.race(answers)
  go.resolve()
  const all = await Promise.all(answers)
  assert.equal(door.jobs.length, 21)
  const refused = all.filter(({ status }) => status === 409)
  assert.ok(refused.length > 0)
  for (const { text, headers } of refused) assert.equal(headers.get('retry-after'), '1', text)
})

test('An input beyond the range of a double is repeated like any other; elsewhere in a body such a number is refused', async () => {
  await using door = await openDoor({ road: async (job) => endOf(job) })
  const body = '{"code":"1","input":[1e400]}'
  const [first, second] = [await run(door, 'a', body), await run(door, 'a', body)]
  assert.deepEqual([first.status, second.status, second.text], [200, 200, first.text])
  assert.equal((await run(door, 'a', '{"code":"1","input":[1e401]}')).status, 422)
  assert.equal(door.jobs[0]?.inputText, '[1e400]')
  const refused = await run(door, 'b', '{"code":"1","output":{"schema":{"default":[-1e400]}}}')
  assert.deepEqual([refused.status, refused.json['code']], [400, 'SYNTAX'])
  assert.deepEqual(refused.json['details'], { path: 'output' })
  assert.equal(door.jobs.length, 1)
})

test('A key survives a restart', async () => {
  await using state = await folder()
  let text: string
  {
    await using door = await openDoor({}, state.path)
    text = (await run(door, 'a')).text
  }
  await using door = await openDoor({}, state.path)
  assert.equal((await run(door, 'a')).text, text)
  assert.equal(door.jobs.length, 0)
})

test('A key outlasts an outcome that was evicted, and the code is not run again', async () => {
  await using state = await folder()
  const bodies = openBodies(state.path, { retainedBytesMax: 2048 })
  const history = createHistory(
    () => bodies,
    () => Date.now(),
  )
  {
    const road: RunJob = async (job) => endOf(job, { result: 'x'.repeat(10_000) })
    await using door = await openDoor({ road, history })
    assert.equal((await run(door, 'a')).status, 200)
    await forgetExpired(bodies, Date.now())
    const again = await run(door, 'a')
    assert.deepEqual([again.status, door.jobs.length], [409, 1])
    assert.match(again.text, /no longer stored/)
  }
  bodies.close()
})

test('A new key beyond those of its tenant is 429, and runs nothing; known keys and requests without one are answered', async () => {
  await using state = await folder()
  const bodies = openBodies(state.path, {
    // Room for two keys.
    keyLimits: { each: 600, all: 2 ** 20 },
  })
  const history = createHistory(
    () => bodies,
    () => Date.now(),
  )
  {
    await using door = await openDoor({ history })
    const first = await run(door, 'a')
    assert.deepEqual([first.status, (await run(door, 'b')).status], [200, 200])
    const refused = await run(door, 'c')
    assert.deepEqual([refused.status, refused.json['code']], [429, 'RATE_LIMITED'])
    assert.deepEqual(refused.json['details'], { limit: 'idempotency_keys' })
    assert.equal(refused.headers.get('retry-after'), '60')
    assert.equal((await run(door, 'a')).text, first.text)
    assert.equal(door.jobs.length, 2)
    const plain = await post(
      `${door.gateway.activeUrl}/v1/executions`,
      { code: '1' },
      bearer(adminKey),
    )
    assert.equal(plain.status, 200)
  }
  bodies.close()
})

test('The same key of another owner is a different key', async () => {
  const { keys } = await openKeys({
    first: adminKey,
    tenants: [{ name: 'default', keys: [`sha256:${sha256(otherKey)}`] }],
  })
  await using door = await openDoor({ keys })
  const [ours, theirs] = [await run(door, 'a'), await run(door, 'a', { code: '1' }, otherKey)]
  assert.notEqual(ours.json['id'], theirs.json['id'])
  assert.equal(door.jobs.length, 2)
})

test('A job that could not run may be retried under its key', async () => {
  let isUp = false
  const road: RunJob = async (job) => endOf(job, { status: isUp ? 'ok' : 'unavailable' })
  await using door = await openDoor({ road })
  assert.equal((await run(door, 'a')).status, 503)
  isUp = true
  assert.equal((await run(door, 'a')).status, 200)
})

test('A job whose end could not be recorded is not run again under its key', async () => {
  const road: RunJob = () => {
    throw new UnrecordedEndError(
      new MayflyError('DISK_FULL', 'Cannot write "/state/secret/audit.db": no space'),
    )
  }
  await using door = await openDoor({ road })
  const first = await run(door, 'a')
  assert.deepEqual([first.status, first.json['code']], [503, 'DISK_FULL'])
  assert.match(String(first.json['detail']), /the code of the job may have run/)
  const { json, text } = await run(door, 'a')
  assert.ok(!text.includes('secret'), text)
  const { status, error } = json as { status?: string; error?: { code: string } }
  assert.deepEqual([status, error?.code, door.jobs.length], ['failed', 'INTERRUPTED', 1])
})

test('A job that could not be recorded before it ran may be retried under its key', async () => {
  let isFull = true
  const road: RunJob = async (job) => {
    if (isFull) throw new MayflyError('DISK_FULL', 'Cannot write the record')
    return endOf(job)
  }
  await using door = await openDoor({ road })
  assert.equal((await run(door, 'a')).status, 503)
  isFull = false
  assert.equal((await run(door, 'a')).status, 200)
})

test('A retry of a blocked job returns the blocked outcome', async () => {
  const error = { code: 'THREAT_DETECTED', message: 'no' }
  await using door = await openDoor({
    road: async (job) => endOf(job, { status: 'blocked', error }),
  })
  const [first, second] = [await run(door, 'a'), await run(door, 'a')]
  assert.deepEqual([first.status, second.status], [403, 403])
  assert.equal(second.text, first.text)
  assert.equal(door.jobs.length, 1)
})

test('A job with a key continues when its client disconnects, and a retry gets its outcome', async () => {
  const go = Promise.withResolvers<void>()
  const seen = Promise.withResolvers<AbortSignal>()
  const road: RunJob = async (job, { signal }) => {
    seen.resolve(signal)
    await go.promise
    return endOf(job, { result: 'kept' })
  }
  await using door = await openDoor({ road })
  const client = connect(door.activePort, '127.0.0.1')
  const body = '{"code":"1"}'
  client.write(
    `POST /v1/executions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${adminKey}\r\n` +
      `idempotency-key: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  const signal = await seen.promise
  client.destroy()
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(signal.aborted, false)
  go.resolve()
  let answer = await run(door, 'a')
  while (answer.status === 409) answer = await run(door, 'a')
  assert.equal(answer.json['result'], 'kept')
})

test('An invalid key is refused', async () => {
  await using door = await openDoor()
  for (const key of ['', 'x'.repeat(256), 'é']) {
    assert.equal((await run(door, key)).status, 422, JSON.stringify(key))
  }
})
