import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import { MayflyError } from '../../src/contract/error.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { inTime } from '../conformance/stand.ts'
import {
  adminKey,
  bearer,
  call,
  endOf,
  folder,
  openDoor,
  post,
  raw,
  statusOf,
  tokenOf,
} from './http-door.ts'

const tenantKey = 'mfy_acme_0123456789abcdefghijklmnopqr'

async function tenantKeys() {
  return openKeys({
    first: adminKey,
    tenants: [{ name: 'acme', keys: [`sha256:${sha256(tenantKey)}`] }],
  })
}

test('POST of a job returns its outcome', async () => {
  await using door = await openDoor()
  const answer = await post(
    `${door.gateway.activeUrl}/v1/executions`,
    { code: 'return input', input: { a: [1, 'é'] } },
    bearer(door.key),
  )
  assert.equal(answer.status, 200)
  assert.deepEqual(answer.json['result'], { echo: { a: [1, 'é'] } })
  assert.equal(answer.headers.get('content-type'), 'application/json')
})

test('A job carries its principal, and its input as the exact text sent', async () => {
  const { keys } = await tenantKeys()
  await using door = await openDoor({ keys })
  await post(
    `${door.gateway.activeUrl}/v1/executions`,
    '{"code":"1","input": [12345678901234567890, 1.0]}',
    bearer(tenantKey),
  )
  const [job] = door.jobs
  assert.equal(job?.inputText, '[12345678901234567890, 1.0]')
  assert.equal(job?.tenant, 'acme')
  assert.equal(job?.origin, 'http')
  assert.match(job?.id ?? '', /^exec_[0-9a-f]{32}$/)
})

test('Every end of a job that reached a wall is 200; blocked is 403 and unavailable 503, with the outcome', async () => {
  const ends = {
    ok: 200,
    error: 200,
    timeout: 200,
    limit: 200,
    terminated: 200,
    refused: 200,
    failed: 200,
    cancelled: 200,
    blocked: 403,
    unavailable: 503,
  }
  for (const [status, expected] of Object.entries(ends)) {
    const road: RunJob = async (job) =>
      endOf(job, {
        status: status as 'ok',
        error: { code: 'SOME_CODE', message: 'Why', details: { a: 1 } },
      })
    await using door = await openDoor({ road })
    const answer = await post(
      `${door.gateway.activeUrl}/v1/executions`,
      { code: '1' },
      bearer(door.key),
    )
    assert.equal(answer.status, expected, status)
    const outcome = expected === 200 ? answer.json : answer.json['outcome']
    assert.equal(outcome.status, status)
    if (expected === 200) continue
    assert.deepEqual(
      [answer.json['code'], answer.json['message'], answer.json['details']],
      ['SOME_CODE', 'Why', { a: 1 }],
    )
  }
})

test('A MayflyError of the pipeline becomes the problem of its code, and any other error discloses nothing', async () => {
  const thrown: unknown[] = [
    new MayflyError('OVERLOADED', 'Cannot take it', {
      retryAfterMs: 2500,
      hint: 'Wait',
      detail: 'secret',
    }),
    new Error('secret'),
    new MayflyError('STATE', 'Cannot read it', { hint: 'Repair "/secret"' }),
  ]
  await using door = await openDoor({ road: () => Promise.reject(thrown.shift()) })
  const url = `${door.gateway.activeUrl}/v1/executions`
  const busy = await post(url, { code: '1' }, bearer(door.key))
  assert.deepEqual(
    [busy.status, busy.json['code'], busy.headers.get('retry-after'), busy.json['retryAfter']],
    [503, 'OVERLOADED', '3', 3],
  )
  assert.equal(busy.json['hint'], 'Wait')
  const broken = await post(url, { code: '1' }, bearer(door.key))
  assert.deepEqual([broken.status, broken.json['code']], [500, 'INTERNAL'])
  const fault = await post(url, { code: '1' }, bearer(door.key))
  assert.deepEqual([fault.status, fault.json['code']], [500, 'STATE'])
  for (const { text } of [busy, broken, fault]) assert.ok(!text.includes('secret'), text)
})

test('S3-28/29: no key is 401, a wrong scope 403, a bad body 422 with the paths of what is wrong', async () => {
  const { keys } = await tenantKeys()
  const narrow = {
    find: (key: string) => keys.find(key) && { ...keys.find(key)!, scopes: ['read' as const] },
  }
  await using door = await openDoor({ keys: narrow })
  const url = `${door.gateway.activeUrl}/v1/executions`
  const missing = await post(url, { code: '1' })
  assert.equal(missing.status, 401)
  assert.match(missing.headers.get('www-authenticate') ?? '', /^Bearer/)
  assert.equal((await post(url, { code: '1' }, bearer(tenantKey))).json['code'], 'FORBIDDEN')
  assert.equal(
    (await call(`${door.gateway.activeUrl}/v1/providers`, { headers: bearer(tenantKey) })).status,
    200,
  )
  await using open = await openDoor()
  const bad = await post(
    `${open.gateway.activeUrl}/v1/executions`,
    {
      code: 1,
      limits: { timeout: 'soon', cores: 2 },
      files: [{ path: '../x', content: '' }],
      what: 1,
    },
    bearer(open.key),
  )
  assert.equal(bad.status, 422)
  const paths = bad.json['details'].map((detail: { path: string }) => detail.path)
  assert.deepEqual(paths.sort(), ['code', 'files.0.path', 'limits.cores', 'limits.timeout', 'what'])
  assert.equal(door.jobs.length + open.jobs.length, 0)
})

test('A body with a thousand errors gets a short response', async () => {
  await using door = await openDoor()
  const faults = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`field${i}`, i]))
  const answer = await post(
    `${door.gateway.activeUrl}/v1/executions`,
    { code: '1', ...faults },
    bearer(door.key),
  )
  assert.equal(answer.status, 422)
  assert.ok(answer.text.length < 5000)
})

test('An effect that was never registered is 404', async () => {
  await using door = await openDoor()
  const answer = await post(
    `${door.gateway.activeUrl}/v1/executions`,
    { effectId: 'x' },
    bearer(door.key),
  )
  assert.equal(answer.status, 404)
})

test('S0-4: POST of content and page token returns the outcome on either endpoint', async () => {
  await using door = await openDoor()
  const token = await tokenOf(door)
  for (const url of [door.gateway.staticUrl, door.gateway.activeUrl]) {
    const answer = await post(
      `${url}/active-content`,
      { content: 'return 1', sessionToken: token, input: 7 },
      { origin: door.gateway.staticUrl },
    )
    assert.equal(answer.status, 200)
    assert.deepEqual(answer.json['result'], { echo: 7 })
  }
  assert.deepEqual(
    door.jobs.map((job) => [job.tenant, job.origin, job.asked.code]),
    [
      ['page', 'page', 'return 1'],
      ['page', 'page', 'return 1'],
    ],
  )
})

test('S0-4: invalid JSON is 400 and too large a content 413, with stable codes', async () => {
  await using door = await openDoor({ limits: { bodyBytes: 1000 } })
  const url = `${door.gateway.staticUrl}/active-content`
  for (const [body, status, code] of [
    ['{"content":', 400, 'SYNTAX'],
    [{ content: 'x'.repeat(1000), sessionToken: await tokenOf(door) }, 413, 'TOO_LARGE'],
  ] as const) {
    const answer = await post(url, body)
    assert.deepEqual([answer.status, answer.json['code']], [status, code])
  }
  assert.equal(door.jobs.length, 0)
})

test('S0-8: a token that is forged, of another origin or of another page is 401', async () => {
  await using door = await openDoor()
  const token = await tokenOf(door)
  const url = `${door.gateway.staticUrl}/active-content`
  const send = (sessionToken: unknown, headers = {}) =>
    post(url, { content: '1', sessionToken }, headers)
  const flipped = token.endsWith('A') ? `${token.slice(0, -1)}B` : `${token.slice(0, -1)}A`
  const origin = door.gateway.staticUrl
  assert.equal((await send(flipped)).status, 401)
  assert.equal((await send('')).status, 401)
  assert.equal((await send(undefined)).status, 401)
  assert.equal((await send({ toString: 1 })).status, 401)
  assert.equal((await send(token, { origin: 'http://evil.example' })).status, 401)
  assert.equal(
    (await send(token, { origin: origin.replace('127.0.0.1', 'localhost') })).status,
    401,
  )
  assert.equal((await send(token, { origin, referer: `${origin}/other.html` })).status, 401)
  assert.equal(door.jobs.length, 0)
  assert.equal((await send(token, { origin, referer: `${origin}/` })).status, 200)
})

test('S0-8: a token of another server is 401', async () => {
  await using door = await openDoor()
  await using other = await openDoor()
  const sessionToken = await tokenOf(other)
  const statusOf = async ({ gateway }: typeof door) =>
    (await post(`${gateway.staticUrl}/active-content`, { content: '1', sessionToken })).status
  assert.deepEqual([await statusOf(door), await statusOf(other)], [401, 200])
  assert.equal(door.jobs.length, 0)
})

test('A page may run two jobs at once; the third is 429, and other pages are unaffected', async () => {
  const gate = Promise.withResolvers<void>()
  await using door = await openDoor({
    road: async (job) => {
      if (job.asked.code === 'wait') await gate.promise
      return endOf(job)
    },
  })
  const url = `${door.gateway.staticUrl}/active-content`
  const [token, another] = [await tokenOf(door), await tokenOf(door)]
  const waiting = [1, 2].map(() => post(url, { content: 'wait', sessionToken: token }))
  while (door.jobs.length < 2) await wait(1)
  const third = await post(url, { content: '1', sessionToken: token })
  assert.deepEqual(
    [third.status, third.json['code'], third.headers.get('retry-after')],
    [429, 'RATE_LIMITED', '1'],
  )
  assert.equal((await post(url, { content: '1', sessionToken: another })).status, 200)
  gate.resolve()
  await Promise.all(waiting)
  assert.equal((await post(url, { content: '1', sessionToken: token })).status, 200)
})

test('A page may run sixty jobs a minute', async () => {
  await using door = await openDoor()
  const url = `${door.gateway.staticUrl}/active-content`
  const sessionToken = await tokenOf(door)
  const began = performance.now()
  const statuses: number[] = []
  while (statuses.length < 200 && statuses.at(-1) !== 429)
    statuses.push((await post(url, { content: '1', sessionToken })).status)
  // During the test the token bucket refills by one job a second.
  const most = 60 + Math.ceil((performance.now() - began) / 1000)
  const ran = statuses.length - 1
  assert.ok(ran >= 60 && ran <= most, `${ran} of ${most}`)
  assert.deepEqual([...new Set(statuses)], [200, 429])
})

test('A key has a rate limit, and scope admin has none', async () => {
  const { keys } = await tenantKeys()
  await using door = await openDoor({ keys, limits: { keyPerMinute: 3 } })
  const url = `${door.gateway.activeUrl}/v1/providers`
  const statuses = []
  for (let i = 0; i < 4; i++)
    statuses.push((await call(url, { headers: bearer(tenantKey) })).status)
  assert.deepEqual(statuses, [200, 200, 200, 429])
  for (let i = 0; i < 5; i++)
    assert.equal((await call(url, { headers: bearer(adminKey) })).status, 200)
})

test(
  'A stream that is open ends after the key of its reader was revoked',
  { timeout: 20_000 },
  async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const reader = { id: 'k', tenant: 'acme', principal: 'k', scopes: ['run', 'read'] } as const
    let known: typeof reader | undefined = reader
    let say: (text: string) => void = () => assert.fail('no job runs')
    const road: RunJob = (job, options) => {
      say = (text) => void options.tap?.('stdout', text)
      return untilCancelled(job, options)
    }
    await using door = await openDoor({ road, keys: { find: () => known } })
    const url = `${door.gateway.activeUrl}/v1/executions`
    const later = await post(url, { code: '1' }, { ...bearer('k'), prefer: 'respond-async' })
    const stream = await fetch(`${url}/${String(later.json['id'])}`, {
      headers: { ...bearer('k'), accept: 'text/event-stream' },
    })
    assert.equal(stream.status, 200)
    const chunks = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    t.mock.timers.tick(5000)
    say('still read')
    for (let text = ''; !text.includes('still read');) {
      const { done, value } = await chunks.read()
      assert.ok(!done, text)
      text += value
    }
    known = undefined
    t.mock.timers.tick(5000)
    await assert.rejects(async () => {
      while (!(await chunks.read()).done);
    })
    known = reader
    assert.equal(await door.gateway.drain(0), 1)
  },
)

test('Guessing keys is rate-limited by address, while a valid key still works from there', async () => {
  await using door = await openDoor({ limits: { addressPerMinute: 3 } })
  const url = `${door.gateway.activeUrl}/v1/providers`
  const statuses = []
  for (let i = 0; i < 4; i++) statuses.push((await call(url)).status)
  assert.deepEqual(statuses, [401, 401, 401, 429])
  assert.equal((await call(url, { headers: bearer(door.key) })).status, 200)
})

test('A flood of guessed keys is delayed, with another key each time too', async () => {
  const clock = { ...systemClock, now: () => 1000 }
  await using door = await openDoor({ limits: { addressPerMinute: 1 }, clock })
  const guess = async (n: number) => {
    const url = `${door.gateway.activeUrl}/v1/providers`
    return (await call(url, { headers: bearer(`mfy_guess_${n}`.padEnd(40, 'x')) })).status
  }
  const statuses = await Promise.all(Array.from({ length: 70 }, (_, n) => guess(n)))
  assert.deepEqual(new Set(statuses), new Set([401, 429]))
  const began = performance.now()
  assert.equal(await guess(70), 429)
  assert.ok(performance.now() - began >= 990, 'the next one waits for a second')
})

test('Active content can be run by an API key too, in the tenant of the key', async () => {
  const { keys } = await tenantKeys()
  await using door = await openDoor({ keys })
  const answer = await post(
    `${door.gateway.activeUrl}/active-content`,
    { content: '1' },
    bearer(tenantKey),
  )
  assert.equal(answer.status, 200)
  assert.equal(door.jobs[0]?.tenant, 'acme')
})

test('A page of the static origin may read the answers of the active one; no other page may', async () => {
  await using door = await openDoor()
  const url = `${door.gateway.activeUrl}/active-content`
  const ask = (origin: string) =>
    call(url, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } })
  const own = await ask(door.gateway.staticUrl)
  assert.equal(own.status, 204)
  assert.equal(own.headers.get('access-control-allow-origin'), door.gateway.staticUrl)
  assert.equal(own.headers.get('access-control-allow-credentials'), null)
  for (const origin of [
    'http://evil.example',
    'null',
    door.gateway.activeUrl,
    'http://localhost.evil.example',
  ]) {
    assert.equal((await ask(origin)).headers.get('access-control-allow-origin'), null, origin)
  }
  const refused = await post(
    url,
    { content: '1', sessionToken: 'x' },
    { origin: door.gateway.staticUrl },
  )
  assert.equal(refused.status, 401)
  assert.equal(refused.headers.get('access-control-allow-origin'), door.gateway.staticUrl)
})

test('/livez, /readyz and /version need no key', async () => {
  await using door = await openDoor()
  const { activeUrl } = door.gateway
  assert.deepEqual((await call(`${activeUrl}/livez`)).json, { status: 'alive' })
  assert.deepEqual((await call(`${activeUrl}/readyz`)).json, {
    status: 'ready',
    walls: ['isolated-vm'],
  })
  assert.deepEqual((await call(`${activeUrl}/version`)).json, {
    name: 'mayfly',
    version: '0.0.0',
    api: 'v1',
  })
  const head = await call(`${activeUrl}/livez`, { method: 'HEAD' })
  assert.deepEqual([head.status, head.text], [200, ''])
})

test('/readyz is 503 until a wall is proved', async () => {
  let proven = false
  await using door = await openDoor({
    ready: () =>
      proven
        ? { ready: true, walls: ['a'] }
        : { ready: false, reason: 'no wall is proven yet', fix: 'Wait' },
  })
  const before = await call(`${door.gateway.activeUrl}/readyz`)
  assert.deepEqual(
    [before.status, before.json['code'], before.json['details']],
    [503, 'NO_WALL', { fix: 'Wait' }],
  )
  proven = true
  assert.equal((await call(`${door.gateway.activeUrl}/readyz`)).status, 200)
})

test('A draining server refuses new jobs, finishes running ones and reports it', async () => {
  const gate = Promise.withResolvers<void>()
  await using door = await openDoor({
    road: async (job) => {
      await gate.promise
      return endOf(job)
    },
  })
  const url = `${door.gateway.activeUrl}/v1/executions`
  const running = post(url, { code: '1' }, bearer(door.key))
  while (door.jobs.length < 1) await wait(1)
  const drained = door.gateway.drain(5000)
  const late = await post(url, { code: '2' }, bearer(door.key))
  assert.deepEqual(
    [late.status, late.json['code'], late.headers.get('connection')],
    [503, 'DRAINING', 'close'],
  )
  assert.ok(Number(late.headers.get('retry-after')) > 0)
  assert.equal((await call(`${door.gateway.activeUrl}/readyz`)).json['code'], 'DRAINING')
  assert.equal((await call(`${door.gateway.activeUrl}/livez`)).status, 200)
  gate.resolve()
  assert.equal((await running).status, 200)
  assert.equal(await drained, 0)
})

/** Ends as cancelled at its signal, as the pipeline does. */
const untilCancelled: RunJob = async (job, { signal }) => {
  const aborted = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => aborted.resolve())
  await aborted.promise
  return endOf(job, { status: 'cancelled' })
}

test('A job that outlasts the drain is cancelled, and its client still gets the outcome', async () => {
  await using door = await openDoor({ road: untilCancelled })
  const running = post(`${door.gateway.activeUrl}/v1/executions`, { code: '1' }, bearer(door.key))
  while (door.jobs.length < 1) await wait(1)
  assert.equal(await door.gateway.drain(20), 1)
  assert.equal((await running).json['status'], 'cancelled')
})

test('A job whose client goes away is cancelled', async () => {
  const cancelled = Promise.withResolvers<void>()
  await using door = await openDoor({
    road: async (job, options) => {
      const outcome = await untilCancelled(job, options)
      cancelled.resolve()
      return outcome
    },
  })
  const controller = new AbortController()
  const running = call(`${door.gateway.activeUrl}/v1/executions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...bearer(door.key) },
    body: '{"code":"1"}',
    signal: controller.signal,
  })
  while (door.jobs.length < 1) await wait(1)
  controller.abort()
  await assert.rejects(running)
  await cancelled.promise
})

test('Expect: 100-continue is answered once the key of the client is valid', async () => {
  await using door = await openDoor()
  const body = '{"code":"1","input":5}'
  const told = Promise.withResolvers<boolean>()
  const sent = request(`${door.gateway.activeUrl}/v1/executions`, {
    method: 'POST',
    headers: {
      ...bearer(door.key),
      'content-type': 'application/json',
      'content-length': body.length,
      expect: '100-continue',
    },
  })
  sent.on('continue', () => sent.end(body))
  sent.on('response', (response) => {
    response.resume()
    told.resolve(response.statusCode === 200)
  })
  assert.ok(await told.promise)
  assert.equal(door.jobs[0]?.inputText, '5')
})

test('A target in absolute form of this host is answered', async () => {
  await using door = await openDoor()
  const { host } = new URL(door.gateway.activeUrl)
  const answer = await raw(
    door.activePort,
    `GET http://${host}/livez HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  )
  assert.equal(statusOf(answer), 200)
})

const unfinished = `POST /v1/executions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${adminKey}\r\nContent-Type: application/json\r\nContent-Length: 80001\r\n\r\n`

test('Bodies that are read at the same time share a limit', async () => {
  await using door = await openDoor({ limits: { bodiesBytes: 200_000, bodyMs: 1000 } })
  const slow = raw(door.activePort, unfinished + ' '.repeat(80_000))
  await wait(100)
  const answer = await post(
    `${door.gateway.activeUrl}/v1/executions`,
    { code: 'x'.repeat(40_000) },
    bearer(door.key),
  )
  assert.deepEqual([answer.status, answer.json['code']], [503, 'OVERLOADED'])
  assert.equal(statusOf(await slow), 408)
  assert.equal(
    (
      await post(
        `${door.gateway.activeUrl}/v1/executions`,
        { code: 'x'.repeat(40_000) },
        bearer(door.key),
      )
    ).status,
    200,
  )
})

test('Off loopback a server starts without TLS only if that is configured, and gives visitors no tokens', async () => {
  await assert.rejects(openDoor({ host: '0.0.0.0' }), { code: 'CONFIG' })
  await using door = await openDoor({ host: '0.0.0.0', insecureHttp: true })
  assert.equal(await tokenOf(door), '')
  const answer = await post(`${door.gateway.staticUrl}/active-content`, {
    content: '1',
    sessionToken: 'mfs_x.y',
  })
  assert.equal(answer.status, 401)
  await using open = await openDoor({
    host: '0.0.0.0',
    insecureHttp: true,
    sessions: { anonymous: true },
  })
  assert.match(await tokenOf(open), /^mfs_/)
})

const portTriesMax = 20

async function listening(port: number) {
  const server = createServer().listen(port, '127.0.0.1')
  await once(server, 'listening')
  const { port: taken } = server.address() as AddressInfo
  return {
    taken,
    [Symbol.asyncDispose]: async () => {
      server.close()
      await once(server, 'close')
    },
  }
}

test('If its second port is taken, the server refuses to start and releases the first one', async () => {
  // Retries: other tests take and release ports meanwhile; a port that the server leaked would be taken each time.
  for (let tries = 1; ; tries++)
    try {
      await using other = await listening(0)
      {
        await using _free = await listening(other.taken - 1)
      }
      await assert.rejects(openDoor({ port: other.taken - 1 }), { code: 'CONFIG' })
      await using _free = await listening(other.taken - 1)
      return
    } catch (thrown) {
      const isTaken = (thrown as NodeJS.ErrnoException).code === 'EADDRINUSE'
      if (!isTaken || tries === portTriesMax) throw thrown
    }
})

test('A client that does not read its answer is cut off', async () => {
  await using files = await folder()
  await writeFile(join(files.path, 'large.bin'), Buffer.alloc(40_000_000))
  await using door = await openDoor({
    site: files.path,
    limits: { writeMs: 200 },
    road: async (job) => endOf(job, { result: 'x'.repeat(40_000_000) }),
  })
  const ask = `POST /v1/executions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${adminKey}\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"code":"1"}`
  const requests = [
    [door.activePort, ask],
    [door.staticPort, 'GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ] as const
  for (const [port, text] of requests) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    const happens = (name: string) =>
      new Promise<void>((resolve) => void socket.once(name, () => resolve()))
    // The server may close the connection at any moment from here on.
    const closed = happens('close')
    socket.write(text)
    // The response has begun; bytes beyond the socket buffers wait for the reader.
    await inTime(Promise.race([happens('readable'), closed]), 'the answer to begin')
    await wait(1500)
    let bytes = 0
    socket.on('data', (chunk: Buffer) => void (bytes += chunk.length))
    await inTime(closed, 'the end of the connection')
    assert.ok(bytes < 40_000_000, 'the rest was dropped')
  }
})

test('A thousand refused requests emit fewer refusal events, and the server still answers', async () => {
  await using door = await openDoor({ limits: { addressPerMinute: 1_000_000 } })
  for (let i = 0; i < 1000; i++)
    await call(`${door.gateway.activeUrl}/v1/executions?${i}`, {
      method: 'POST',
      headers: bearer(`mfy_${i}`),
    })
  assert.ok(door.refusals.length < 900, 'refusal events are rate-limited')
  assert.equal((await call(`${door.gateway.activeUrl}/livez`)).status, 200)
})
