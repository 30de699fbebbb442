import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import type { ThreatRow } from '../../src/contract/answers.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { ThreatReaders } from '../../src/gateway/http/threat-readers.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { Threats } from '../../src/telemetry/threats.ts'
import { createViews } from '../../src/telemetry/views.ts'
import { EventStream } from '../../src/telemetry/event-stream.ts'
import { adminKey, bearer, call, openDoor, post, raw, type TestDoor } from './http-door.ts'
import { metricsIn } from './prometheus.ts'

const [acmeKey, otherKey] = [
  'mfy_acme_0123456789abcdefghijklmnopqr',
  'mfy_other_0123456789abcdefghijklmnop',
]
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

test('/metrics counts every response by method, route and status, and an unknown path is no route', async () => {
  await using house = await open()
  const { door } = house
  const url = door.gateway.activeUrl
  for (let at = 0; at < 3; at += 1)
    await post(`${url}/v1/executions`, { code: '1' }, bearer(adminKey))
  await call(`${url}/v1/executions/exec_1`, { headers: bearer(adminKey) })
  await call(`${url}/no/such/path/${'x'.repeat(50)}`)
  await call(`${url}/livez?secret=1`)
  const { value, sum, series } = await metricsOf(door)
  const count = (method: string, route: string, status: number): number | undefined =>
    value(
      `http_server_request_duration_seconds_count{http_request_method="${method}",url_scheme="http",http_route="${route}",http_response_status_code="${status}"}`,
    )
  assert.equal(count('POST', '/v1/executions', 200), 3)
  assert.equal(count('GET', '/v1/executions/{id}', 404), 1)
  assert.equal(count('GET', 'none', 401), 1)
  assert.equal(count('GET', '/livez', 200), 1)
  assert.equal(sum('http_server_request_duration_seconds_count'), 6)
  assert.equal(value('mayfly_door_refusals_total{code="UNAUTHENTICATED"}'), 1)
  assert.ok(!JSON.stringify(series).includes('secret'))
})

test('A WebSocket upgrade is counted when its connection closes, a refused one too', async () => {
  await using house = await open()
  const { door } = house
  const url = door.gateway.activeUrl.replace('http', 'ws')
  const socket = new WebSocket(`${url}/v1/executions`, { headers: bearer(adminKey) })
  await once(socket, 'open')
  socket.send('{"code":"1"}')
  await once(socket, 'close')
  const refused = [
    new WebSocket(`${url}/v1/executions`, { headers: bearer('wrong') }),
    new WebSocket(`${url}/no/such/path`, { headers: bearer(adminKey) }),
  ]
  await Promise.all(refused.map((one) => once(one, 'error')))
  const keyless = `GET /active-content HTTP/1.1\r\nhost: 127.0.0.1:${door.activePort}\r\n`
  await raw(door.activePort, `${keyless}connection: upgrade\r\nupgrade: websocket\r\n\r\n`)
  await until(async () => house.answered.length === 4)
  assert.deepEqual(
    house.answered.map(({ method, route, status }) => [method, route, status]).sort(byText),
    [
      ['GET', '/active-content', 400],
      ['GET', '/v1/executions', 101],
      ['GET', '/v1/executions', 401],
      ['GET', undefined, 404],
    ],
  )
  const { sum } = await metricsOf(door)
  assert.equal(sum('http_server_request_duration_seconds_count'), 4)
})

test('/metrics, /v1/threats and its stream need a key with scope read', async () => {
  await using house = await open()
  const url = house.door.gateway.activeUrl
  for (const path of ['/metrics', '/v1/threats', '/v1/threats/stream'])
    assert.equal((await call(url + path)).status, 401, path)
  assert.equal((await call(`${url}/metrics`, { headers: bearer(acmeKey) })).status, 200)
})

test('A tenant sees its own threats, an admin all of them', async () => {
  await using house = await open()
  const { door, unparsed } = house
  unparsed('acme', 'exec_1')
  unparsed('other', 'exec_2')
  const seen = async (key: string) =>
    (
      (await call(`${door.gateway.activeUrl}/v1/threats`, { headers: bearer(key) })).json as any
    ).map(({ run }: { run: string }) => run)
  assert.deepEqual(await seen(acmeKey), ['exec_1'])
  assert.deepEqual(await seen(otherKey), ['exec_2'])
  assert.deepEqual(await seen(adminKey), ['exec_1', 'exec_2'])
  const listed = async (query = '') =>
    (
      (await call(`${door.gateway.activeUrl}/v1/threats${query}`, { headers: bearer(adminKey) }))
        .json as any
    ).map(({ seq }: { seq: number }) => seq)
  const [first, second] = await listed()
  assert.ok(first < second)
  assert.deepEqual(await listed(`?after=${first}`), [second])
})

test('S3-53: threats are streamed as they occur, to a tenant its own, and a reader resumes after its last event', async () => {
  await using house = await open()
  const { door, unparsed } = house
  unparsed('acme', 'exec_0')
  await using reader = await read(door, acmeKey)
  unparsed('other', 'exec_1')
  unparsed('acme', 'exec_2')
  const [frame] = await reader.frames(1)
  assert.match(frame!, /^id: \d+\nevent: threat\ndata: \{.*"run":"exec_2".*\}$/)
  const { seq } = dataOf(frame)
  assert.equal(dataOf(frame).kind, 'unparsed')
  assert.ok(frame!.startsWith(`id: ${seq}\n`))
  for (const [last, expected] of [
    ['0', ['exec_0', 'exec_2']],
    [String(seq - 1), ['exec_2']],
  ] as const) {
    await using again = await read(door, acmeKey, { 'last-event-id': last })
    const runs = (await again.frames(expected.length)).map((one) => dataOf(one).run)
    assert.deepEqual(runs, expected)
  }
  await using resumed = await read(door, acmeKey, { 'last-event-id': String(seq) })
  unparsed('acme', 'exec_3')
  assert.equal(dataOf((await resumed.frames(1))[0]).run, 'exec_3')
})

test('No name can inject a frame into the stream', async () => {
  await using house = await open()
  await using reader = await read(house.door, adminKey)
  const hostile = 'x\n\nevent: threat\ndata: {"kind":"forged"}\n\n\u2028\r'
  house.emitter.emit(
    'capability/denied',
    { capability: hostile },
    { run: 'exec_1', trust: 'guest' },
  )
  house.unparsed('acme', 'exec_2')
  const [first, second] = await reader.frames(2)
  assert.equal(dataOf(first).capability, hostile)
  assert.equal(dataOf(second).run, 'exec_2')
})

test('A key has at most eight readers, and a reader that disconnects frees a slot', async () => {
  await using house = await open()
  const readers = []
  for (let at = 0; at < 8; at += 1) readers.push(await read(house.door, acmeKey))
  const url = `${house.door.gateway.activeUrl}/v1/threats/stream`
  const ninth = await call(url, { headers: bearer(acmeKey) })
  assert.deepEqual([ninth.status, ninth.headers.get('retry-after')], [429, '5'])
  await using other = await read(house.door, otherKey)
  assert.equal((await metricsOf(house.door)).value('mayfly_threat_readers'), 9)
  for (const one of readers) await one[Symbol.asyncDispose]()
  await until(async () => (await metricsOf(house.door)).value('mayfly_threat_readers') === 1)
  house.unparsed('other', 'exec_1')
  assert.equal((await other.frames(1)).length, 1)
})

test('A tenant has a fair share of the streams of threats, by however many keys', async () => {
  const names = ['a', 'b', 'c', 'd', 'e'].map((at) => `mfy_many_${at}`.padEnd(40, at))
  await using house = await open({ many: names })
  await using readers = new AsyncDisposableStack()
  const url = `${house.door.gateway.activeUrl}/v1/threats/stream`
  for (const key of names.slice(0, 4))
    for (let at = 0; at < 8; at += 1) readers.use(await read(house.door, key))
  const refused = await fetch(url, { headers: bearer(names[4]!) })
  readers.defer(() => refused.body?.cancel().catch(() => undefined))
  assert.equal(refused.status, 429)
  readers.use(await read(house.door, otherKey))
  readers.use(await read(house.door, adminKey))
})

test('A reader that resumes gets all stored threats, more than the buffer of a reader has room for', async () => {
  await using house = await open()
  for (let at = 0; at < 900; at += 1) house.unparsed('acme', `exec_${'x'.repeat(400)}${at}`)
  await using reader = await read(house.door, acmeKey, { 'last-event-id': '0' })
  const stored = await reader.frames(900)
  assert.deepEqual([stored.length, new Set(stored.map((one) => dataOf(one).run)).size], [900, 900])
  house.unparsed('acme', 'exec_last')
  assert.equal(dataOf((await reader.frames(901))[900]).run, 'exec_last')
})

test('A list after a threat begins with the next one, however many came', async () => {
  await using house = await open()
  const list = async (after: number) => {
    const url = `${house.door.gateway.activeUrl}/v1/threats?after=${after}`
    const rows = (await call(url, { headers: bearer(acmeKey) })).json as unknown as ThreatRow[]
    assert.ok(rows.length <= 500, `${rows.length}`)
    return rows
  }
  house.unparsed('acme', 'exec_0')
  const all = [...(await list(0))]
  for (let at = 1; at < 900; at += 1) house.unparsed('acme', `exec_${at}`)
  const latest = await list(0)
  assert.deepEqual([latest[0]?.run, latest.at(-1)?.run], ['exec_400', 'exec_899'])
  for (let more = await list(all[0]!.seq); more.length > 0; more = await list(all.at(-1)!.seq))
    all.push(...more)
  assert.deepEqual(
    all.map(({ run }) => run),
    Array.from({ length: 900 }, (_, at) => `exec_${at}`),
  )
})

test('A slow reader is disconnected and counted, and does not delay others', async () => {
  await using house = await open()
  const socket = connect(house.door.activePort, '127.0.0.1')
  await once(socket, 'connect')
  socket.on('error', () => undefined)
  socket.pause()
  socket.write(
    `GET /v1/threats/stream HTTP/1.1\r\nhost: 127.0.0.1:${house.door.activePort}\r\nauthorization: Bearer ${adminKey}\r\n\r\n`,
  )
  await until(async () => (await metricsOf(house.door)).value('mayfly_threat_readers') === 1)
  await using reader = await read(house.door, otherKey)
  for (let round = 0; round < 200; round += 1) {
    for (let at = 0; at < 200; at += 1) house.unparsed('acme', `exec_${'x'.repeat(500)}`)
    await sleep(1)
    if ((await metricsOf(house.door)).value('mayfly_threat_readers') === 1) break
  }
  assert.equal((await metricsOf(house.door)).value('mayfly_threat_readers_dropped_total'), 1)
  house.unparsed('other', 'exec_1')
  assert.equal((await reader.frames(1)).length, 1)
  socket.destroy()
})

test('A stream ends when the key of its reader is revoked', async () => {
  const readers = new ThreatReaders(new Threats(), 20)
  let may = true
  const server = createServer((_, outgoing) =>
    readers.add(outgoing, {
      key: 'k',
      of: 'acme',
      isStillAllowed: () => may,
      tenant: undefined,
      after: undefined,
    }),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const answer = await fetch(`http://127.0.0.1:${port}`)
  may = false
  assert.match(await answer.text(), /^: threats\n\n(: quiet\n\n)*$/)
  server.close()
})

test('HEAD of the stream gets a complete response', async () => {
  await using house = await open()
  const url = `${house.door.gateway.activeUrl}/v1/threats/stream`
  const answer = await call(url, { method: 'HEAD', headers: bearer(adminKey) })
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, 'text/event-stream'])
})

test('A draining server ends its streams', async () => {
  await using house = await open()
  await using reader = await read(house.door, adminKey)
  await house.door.gateway.drain(1000)
  assert.deepEqual(await reader.frames(1), [])
})

test('A valid traceparent is passed to the job; an invalid one is not', async () => {
  await using house = await open()
  const url = `${house.door.gateway.activeUrl}/v1/executions`
  const traces = [traceparent, traceparent.replace('00-', 'ff-'), `${traceparent}, ${traceparent}`]
  for (const one of traces)
    await post(url, { code: '1' }, { ...bearer(adminKey), traceparent: one })
  assert.deepEqual(
    house.door.jobs.map((job) => job.traceparent),
    [traceparent, undefined, undefined],
  )
})

test('With traces exported, the span of a job is a child of its request, and the request a child of the caller', async () => {
  await using house = await open({ traces: true })
  const url = `${house.door.gateway.activeUrl}/v1/executions`
  await post(url, { code: '1' }, { ...bearer(adminKey), traceparent })
  await post(url, { code: '1' }, bearer(adminKey))
  const [asked, own] = house.door.jobs.map((job) => job.traceparent)
  await until(async () => house.answered.length === 2)
  const [first, second] = house.answered
  assert.deepEqual([first?.['traceparent'], first?.['parent']], [asked, 'b7ad6b7169203331'])
  assert.equal(asked?.slice(3, 35), traceparent.slice(3, 35))
  assert.notEqual(asked, traceparent)
  assert.deepEqual([second?.['traceparent'], second?.['parent']], [own, undefined])
})

async function open({
  traces = false,
  many = [],
}: { readonly traces?: boolean; readonly many?: readonly string[] } = {}) {
  const { keys } = await openKeys({
    first: adminKey,
    tenants: [
      { name: 'many', keys: many.map((key) => `sha256:${sha256(key)}`) },
      { name: 'acme', keys: [`sha256:${sha256(acmeKey)}`] },
      { name: 'other', keys: [`sha256:${sha256(otherKey)}`] },
    ],
  })
  const views = createViews()
  const answered: Event['fields'][] = []
  const tell = ({ point, fields }: Event): void => {
    if (point === 'door/answered') answered.push(fields)
  }
  const emitter = new EventStream({ clock: systemClock, sinks: [...views.sinks, tell] })
  const door = await openDoor({ keys, emitter, telemetry: { views, traces } })
  return {
    door,
    emitter,
    answered,
    unparsed: (tenant: string, run: string) => emitter.emit('threat/unparsed', { tenant }, { run }),
    [Symbol.asyncDispose]: () => door[Symbol.asyncDispose](),
  }
}

async function metricsOf(door: TestDoor) {
  const { text } = await call(`${door.gateway.activeUrl}/metrics`, { headers: bearer(adminKey) })
  return metricsIn(text)
}

/** Reads frames of the stream, except comments. */
async function read(door: TestDoor, key: string, more: Record<string, string> = {}) {
  const stop = new AbortController()
  const answer = await fetch(`${door.gateway.activeUrl}/v1/threats/stream`, {
    headers: { ...bearer(key), ...more },
    signal: stop.signal,
  })
  assert.equal(answer.headers.get('content-type'), 'text/event-stream')
  const chunks = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  return {
    async frames(count: number): Promise<readonly string[]> {
      for (;;) {
        const whole = text
          .split('\n\n')
          .slice(0, -1)
          .filter((one) => !one.startsWith(':'))
        if (whole.length >= count) return whole
        const { done, value } = await chunks.read()
        if (done) return whole
        text += value
      }
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await chunks.cancel().catch(() => undefined)
    },
  }
}

/** Orders by JSON text, since a route may be undefined. */
function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}

function dataOf(frame = ''): any {
  return JSON.parse(/\ndata: ([^]*)$/.exec(frame)?.[1] ?? '')
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let tried = 0; tried < 200; tried += 1) {
    if (await isSo()) return
    await sleep(10)
  }
  assert.fail('The condition did not become true')
}
