import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { MayflyError } from '../../src/contract/error.ts'
import { MayflyClient, MayflyProblem, type StreamEvent } from '../../src/sdk/client.js'
import { adminKey, endOf, openDoor, type TestDoor } from './http-door.ts'

const clientOf = (door: TestDoor, key = adminKey) =>
  new MayflyClient({ url: door.gateway.activeUrl, key })

const talking: RunJob = async (job, { tap, on }) => {
  on?.({ at: 0, zone: 'main', event: 'phase', phase: 'full' })
  for (let n = 0; n < 100; n++) await tap?.('stdout', `${n} é\n\n`)
  return endOf(job, { result: JSON.parse(job.inputText) as unknown })
}

const forEver: RunJob = (job, { signal, tap }) =>
  new Promise((resolve) => {
    void tap?.('stdout', 'x')
    signal.addEventListener('abort', () => resolve(endOf(job, { status: 'cancelled' })))
  })

test('The client runs a job and returns its outcome', async () => {
  await using door = await openDoor()
  const outcome = await clientOf(door).run({ code: '1', input: { a: 1 } })
  assert.deepEqual(outcome.result, { echo: { a: 1 } })
})

test('The client yields the events of a stream, the outcome last', async () => {
  await using door = await openDoor({ road: talking })
  const all: StreamEvent[] = await Array.fromAsync(clientOf(door).stream({ code: '1', input: 7 }))
  const last = all.at(-1)!
  assert.equal(last.event, 'outcome')
  const texts = all.flatMap((one) => (one.event === 'stdout' ? [one.data.text] : []))
  assert.equal(texts.join(''), Array.from({ length: 100 }, (_, n) => `${n} é\n\n`).join(''))
  assert.equal(all[0]?.event, 'event')
})

test(
  'The client reads an outcome of 48 MB in small chunks, and delimiters that are split over chunks',
  { timeout: 20_000 },
  async () => {
    const large = 'x'.repeat(2 ** 13)
    async function* chunks() {
      yield ': watching\n\nevent: stdout\ndata: {"text":"é"}\n'
      yield '\nevent: outcome\ndata: {"stdout":"'
      for (let n = 0; n < 6144; n++) {
        // Lets the timeout of this test end it.
        if (n % 64 === 0) await nextTurn()
        yield large
      }
      yield '"}\n'
      yield '\n'
    }
    const body = ReadableStream.from(chunks()).pipeThrough(new TextEncoderStream())
    const headers = { 'content-type': 'text/event-stream' }
    const send = () => Promise.resolve(new Response(body, { headers }))
    const client = new MayflyClient({ url: 'http://localhost', key: '', fetch: send })
    const all: StreamEvent[] = await Array.fromAsync(client.stream({ code: '1' }))
    assert.deepEqual(
      all.map(({ event }) => event),
      ['stdout', 'outcome'],
    )
    assert.deepEqual(all[0]?.data, { text: 'é' })
    assert.equal((all[1]!.data as { stdout: string }).stdout.length, 48 * 2 ** 20)
  },
)

test('Attack: an endless answer is a problem of the client, and is read no further than its bound', async () => {
  const piece = new Uint8Array(2 ** 20).fill(0x30)
  let pieces = 0
  let isLeft = false
  const body = new ReadableStream<Uint8Array>({
    pull: (made) => (pieces++ < 400 ? made.enqueue(piece) : made.error(new Error('read on'))),
    cancel: () => void (isLeft = true),
  })
  const client = new MayflyClient({
    url: 'http://localhost',
    fetch: () => Promise.resolve(new Response(body, { status: 500 })),
  })
  await assert.rejects(client.draw('exec_1'), { name: 'MayflyProblem', code: 'UNREADABLE' })
  assert.ok(isLeft)
})

test('An answer of a fetch without streams is read', async () => {
  const answer = { status: 'ok' }
  // Older runtimes have texts of answers alone.
  const { ok, status, headers } = Response.json(answer)
  const text = () => Promise.resolve(JSON.stringify(answer))
  const send = () => Promise.resolve({ ok, status, headers, text } as Response)
  const client = new MayflyClient({ url: 'http://localhost', fetch: send })
  assert.deepEqual(await client.run({ code: '1' }), answer)
})

test('A misspelt option of the client and of its calls is a TypeError that names it, and nothing is sent', async () => {
  const url = 'http://localhost'
  assert.throws(() => new MayflyClient({ url, apiKey: 'k' } as never), {
    name: 'TypeError',
    message: 'Cannot use the option "apiKey": there is no such option. Use url, key, fetch',
  })
  const send = () => assert.fail('a request was sent')
  const client = new MayflyClient({ url, key: '', fetch: send })
  const job = { code: '1' }
  const wrong = { wrongOption: 1 } as object
  for (const call of [
    () => client.run(job, wrong),
    () => client.submit(job, wrong),
    () => Array.fromAsync(client.stream(job, wrong)),
    () => Array.fromAsync(client.watch('exec_1', wrong)),
    () => client.audit(wrong),
    () => client.draw('exec_1', wrong),
    () => client.list(wrong),
  ])
    await assert.rejects(call, { name: 'TypeError', message: /the option "wrongOption"/ })
})

test('A stream that ends without an outcome is a problem', async () => {
  const headers = { 'content-type': 'text/event-stream' }
  const send = () =>
    Promise.resolve(new Response('event: stdout\ndata: {"text":"a"}\n\n', { headers }))
  const client = new MayflyClient({ url: 'http://localhost', key: '', fetch: send })
  const seen: string[] = []
  for (const stream of [client.stream({ code: '1' }), client.watch('exec_1')])
    await assert.rejects(async () => {
      for await (const { event } of stream) seen.push(event)
    }, MayflyProblem)
  assert.deepEqual(seen, ['stdout', 'stdout'])
})

test('Leaving the loop over a stream cancels its job', async () => {
  const told = Promise.withResolvers<void>()
  const road: RunJob = async (job, more) => {
    const outcome = await forEver(job, more)
    told.resolve()
    return outcome
  }
  await using door = await openDoor({ road })
  for await (const { event } of clientOf(door).stream({ code: '1' })) {
    assert.equal(event, 'stdout')
    break
  }
  await told.promise
})

test('A blocked job returns an outcome, with and without streaming', async () => {
  const error = { code: 'THREAT_DETECTED', message: 'no' }
  await using door = await openDoor({
    road: async (job) => endOf(job, { status: 'blocked', error }),
  })
  assert.equal((await clientOf(door).run({ code: '1' })).status, 'blocked')
  const events = await Array.fromAsync(clientOf(door).stream({ code: '1' }))
  assert.deepEqual(
    events.map(({ event }) => event),
    ['outcome'],
  )
})

test('A submitted job is read, listed by its labels, and cancelled', async () => {
  await using door = await openDoor({ road: forEver })
  const client = clientOf(door)
  const { id, status } = await client.submit({ code: '1', labels: { env: 'prod' } })
  assert.equal(status, 'queued')
  assert.equal((await client.get(id)).status, 'queued')
  assert.deepEqual(
    (await client.list({ labels: { env: 'prod' }, limit: 5 })).items.map((row) => row.id),
    [id],
  )
  assert.deepEqual((await client.list({ labels: { env: 'test' } })).items, [])
  await client.cancel(id)
  let now = await client.get(id)
  while (now.status === 'queued') now = await client.get(id)
  assert.equal(now.status, 'cancelled')
})

test('Two requests with the same idempotency key run one job', async () => {
  await using door = await openDoor()
  const client = clientOf(door)
  const [first, second] = [
    await client.run({ code: '1' }, { idempotencyKey: 'a' }),
    await client.run({ code: '1' }, { idempotencyKey: 'a' }),
  ]
  assert.equal(first.id, second.id)
})

test('Effects are registered, run, listed and removed', async () => {
  await using door = await openDoor()
  const client = clientOf(door)
  const { effectId } = await client.registerEffect({ effectId: 'a', code: 'return input' })
  const executed = await client.executeEffect(effectId, [1])
  assert.deepEqual([executed.effectId, executed.result], ['a', { echo: [1] }])
  assert.equal((await client.effect('a')).code, 'return input')
  assert.deepEqual(
    (await client.effects()).items.map((row) => row.effectId),
    ['a'],
  )
  assert.equal(await client.removeEffect('a'), undefined)
  await assert.rejects(client.removeEffect('a'), { code: 'NOT_FOUND' })
})

test('Capabilities are listed and called, isolated or not', async () => {
  await using door = await openDoor()
  const client = clientOf(door)
  const { items } = await client.capabilities()
  assert.ok(items.some(({ name, isolated }) => name === 'math.add' && !isolated))
  assert.equal((await client.callCapability('math.add', [1, 2])).result, 3)
  const fetched = await client.callCapability('ccos.network.http-fetch', ['https://a.example'])
  assert.deepEqual(fetched.result, { echo: ['https://a.example'] })
  assert.equal(door.jobs[0]?.capability, 'ccos.network.http-fetch')
  await assert.rejects(client.callCapability('a/b'), { code: 'NOT_FOUND' })
})

test('Walls and threats are listed; the configuration is changed if the server allows it', async () => {
  const patches: unknown[] = []
  const inForce = { default_provider: 'mine', limits: {} }
  await using door = await openDoor({
    change: async (patch) => (patches.push(patch), inForce),
  })
  const client = clientOf(door)
  assert.deepEqual([await client.providers(), await client.threats()], [[], []])
  assert.deepEqual(await client.changeConfig({ network: 'none' }), inForce)
  assert.deepEqual(await client.preferProvider('mine'), inForce)
  assert.deepEqual(patches, [{ network: 'none' }, { default_provider: 'mine' }])
})

test('The audit log is read in pages', async () => {
  const asked: unknown[] = []
  await using door = await openDoor({
    audit: (query) => (asked.push(query), { items: [], next: '3' }),
  })
  const client = clientOf(door)
  const run = `exec_${'0'.repeat(32)}`
  assert.deepEqual(await client.audit(), { items: [], next: '3' })
  await client.audit({ limit: 2, cursor: '3', run })
  assert.deepEqual(asked, [
    { tenant: undefined, run: undefined, before: undefined, limit: 20 },
    { tenant: undefined, run, before: 3, limit: 2 },
  ])
})

test('An error of the server is thrown with its code and its remedy', async () => {
  const full = new MayflyError('OVERLOADED', 'Cannot take it', { hint: 'Close a session' })
  await using door = await openDoor({ road: () => Promise.reject(full) })
  await assert.rejects(clientOf(door).run({ code: '1' }), { hint: 'Close a session' })
  const wrong = clientOf(door, `${adminKey}x`)
  await assert.rejects(wrong.run({ code: '1' }), (thrown) => {
    assert(thrown instanceof MayflyProblem)
    assert.deepEqual([thrown.status, thrown.code], [401, 'UNAUTHENTICATED'])
    return true
  })
  await assert.rejects(clientOf(door).get('exec_no'), { code: 'NOT_FOUND' })
})

test('The page of a server, no server and no address are problems with the address, the cause and the cure', async () => {
  await using door = await openDoor()
  const { staticUrl, activeUrl } = door.gateway
  const told = (
    url: string,
    call = (client: MayflyClient): Promise<unknown> => client.run({ code: '1' }),
  ) =>
    call(new MayflyClient({ url, key: adminKey })).then(
      () => assert.fail(url),
      (thrown: unknown) => {
        assert.ok(thrown instanceof MayflyProblem, String(thrown))
        return [thrown.status, thrown.code, thrown.message, thrown.hint].join('; ')
      },
    )
  const page = /API is the port of the page \+ 1/
  assert.match(
    await told(staticUrl),
    /^405; METHOD_NOT_ALLOWED; Cannot use the answer of "http:.*": Cannot answer "POST"/,
  )
  assert.match(await told(staticUrl), page)
  assert.match(await told(staticUrl, (client) => client.list()), page)
  assert.match(
    await told('http://127.0.0.1:9'),
    /^0; UNAVAILABLE; Cannot reach a server at "http:\/\/127\.0\.0\.1:9": .*; Start it with "mayfly serve"/,
  )
  for (const url of ['127.0.0.1:7421', 'localhost:7421', '', '/v1'])
    assert.match(await told(url), /^0; INVALID; Cannot use ".*" as the URL.*such as http:/)
  const stopped = AbortSignal.abort()
  const client = new MayflyClient({ url: activeUrl, key: adminKey })
  await assert.rejects(client.run({ code: '1' }, { signal: stopped }), { name: 'AbortError' })
})

test('Without a key the client sends no Authorization header, and the server says that it wants one', async () => {
  await using door = await openDoor()
  const sent: (string | null)[] = []
  const send: typeof fetch = (to, init) => {
    sent.push(new Headers(init?.headers).get('authorization'))
    return fetch(to, init)
  }
  const url = door.gateway.activeUrl
  for (const options of [{}, { key: undefined }, { key: '' }])
    await assert.rejects(new MayflyClient({ url, fetch: send, ...options }).list(), (thrown) => {
      assert.ok(thrown instanceof MayflyProblem)
      assert.deepEqual([thrown.status, thrown.code], [401, 'UNAUTHENTICATED'])
      return true
    })
  await new MayflyClient({ url, fetch: send, key: adminKey }).list()
  assert.deepEqual(sent, [null, null, null, `Bearer ${adminKey}`])
})
