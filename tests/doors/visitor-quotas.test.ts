import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { systemClock } from '../../src/contract/clock.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { openQuotaStore } from '../../src/gateway/http/quota-store.ts'
import { OpenQuotas } from '../../src/gateway/http/quota.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { unable } from '../walls/process-stands.ts'
import { endOf, openDoor, type TestDoor } from './http-door.ts'
import { makeKey, makePlace, startServer, whenReady, type Place } from './program.ts'

/** Loopback addresses: each is an address of its own to the server. */
const [evil, good, proxy] = ['127.0.0.11', '127.0.0.12', '127.0.0.14']
/** Reverse proxy that the configuration of a server names. */
const configured = '127.0.0.15'

interface Asked {
  readonly method?: string
  readonly body?: unknown
  readonly token?: string
  /** Header with the client's address, as a proxy writes `X-Forwarded-For` or `Forwarded`. */
  readonly forwarded?: string
  readonly standard?: string
}

async function ask(
  url: string | URL,
  from: string,
  { method, body, token, forwarded, standard }: Asked = {},
) {
  const asked = request(url, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    localAddress: from,
    agent: false,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(forwarded !== undefined && { 'x-forwarded-for': forwarded }),
      ...(standard !== undefined && { forwarded: standard }),
    },
  })
  asked.end(body === undefined ? undefined : JSON.stringify(body))
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  const isJson = response.headers['content-type']?.includes('json')
  const json = (isJson ? JSON.parse(text) : {}) as Record<string, any>
  return { status: response.statusCode, headers: response.headers, text, json }
}

/** Token of a page loaded from an address. */
async function visit(staticUrl: string, from: string): Promise<string> {
  return /mfs_[\w.-]+/.exec((await ask(staticUrl, from)).text)![0]
}

suite('Quotas of visitors at each entry point', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-visitors-'))
  after(() => rmSync(folder, { recursive: true }))
  let file = 0
  /** Quota cost of each job. */
  const cpuTime = 5_000
  const inItsWall: RunJob = async (job) => {
    const end = endOf(job)
    return { ...end, metrics: { ...end.metrics, cpuTime } }
  }
  const senders: unknown[] = []
  const inItsAnalysis: RunJob = async (job) => {
    senders.push(job.account?.sender)
    job.account?.charge(cpuTime)
    return endOf(job)
  }

  async function open(road = inItsWall): Promise<TestDoor> {
    const store = openQuotaStore(join(folder, `${file++}.db`), Date.now())
    const quotas = new OpenQuotas({
      ceilings: (tenant) => (tenant === 'page' ? { cpu_seconds_per_minute: 60 } : {}),
      visitors: () => ({
        token: { cpu_seconds_per_minute: 9 },
        address: { cpu_seconds_per_minute: 20 },
      }),
      store,
      clock: systemClock,
    })
    return await openDoor({ quotas, road })
  }

  /** Runs jobs with a token each until one is refused; returns how many ran, and whose quota ended it. */
  async function runUntilRefused(run: (token: string) => Promise<unknown>, door: TestDoor) {
    for (let ran = 0; ran < 50; ran++) {
      const details = await run(await visit(door.gateway.staticUrl, evil))
      if (details !== undefined) return { ran, details }
    }
    throw new Error('It was never refused')
  }

  const withManyTokens = async (by: RunJob): Promise<void> => {
    await using door = await open(by)
    const { staticUrl, activeUrl } = door.gateway
    const run = async (sessionToken: string, from = evil) => {
      const body = { content: 'return 1', sessionToken }
      const { status, json, headers } = await ask(`${staticUrl}/active-content`, from, { body })
      if (status === 200) return undefined
      assert.equal(status, 429)
      assert.ok(Number(headers['retry-after']) >= 1)
      return json['details'] as unknown
    }
    const own = await visit(staticUrl, good)
    const { ran, details } = await runUntilRefused(run, door)
    assert.deepEqual(details, { limit: 'cpu_seconds_per_minute', of: 'address' })
    assert.ok(ran >= 4 && ran <= 6, `${ran} jobs of 5 s were within 20 s`)
    assert.equal(await run(own, good), undefined)
    assert.equal(await run(own, good), undefined)
    assert.deepEqual(await run(own, good), { limit: 'cpu_seconds_per_minute', of: 'page' })
    const body = { code: 'return 1' }
    for (let n = 0; n < 5; n++)
      assert.equal(
        (await ask(`${activeUrl}/v1/executions`, evil, { body, token: door.key })).status,
        200,
      )
  }

  test('S0-12: any number of tokens gives one address no more than its quota, and another visitor and a key are served', () =>
    withManyTokens(inItsWall))

  test('The time of analyses counts for the quotas of visitors as that of runs does', () =>
    withManyTokens(inItsAnalysis))

  test('Visitors are senders by their address, with any token', async () => {
    await using door = await open(inItsAnalysis)
    const { staticUrl } = door.gateway
    senders.length = 0
    for (const from of [evil, evil, good]) {
      const body = { content: 'return 1', sessionToken: await visit(staticUrl, from) }
      assert.equal((await ask(`${staticUrl}/active-content`, from, { body })).status, 200)
    }
    const [first, again, other] = senders
    assert.ok(first !== undefined && first === again && other !== undefined && first !== other)
  })

  test('S0-12: the same quota applies over WebSocket, and HTTP and WebSocket share it', async () => {
    await using door = await open()
    const { staticUrl } = door.gateway
    const run = async (sessionToken: string) => {
      const socket = new WebSocket(`${staticUrl.replace('http', 'ws')}/active-content`, {
        localAddress: evil,
      })
      let last: Record<string, any> = {}
      socket.on('message', (data: Buffer) => (last = JSON.parse(String(data)) as typeof last))
      await once(socket, 'open')
      socket.send(JSON.stringify({ content: 'return 1', sessionToken }))
      const [code] = (await once(socket, 'close')) as [number]
      if (code === 1000) return undefined
      assert.equal(code, 4429)
      return last['data'].details as unknown
    }
    const { ran, details } = await runUntilRefused(run, door)
    assert.ok(ran >= 4 && ran <= 6, `${ran} jobs of 5 s were within 20 s`)
    assert.deepEqual(details, { limit: 'cpu_seconds_per_minute', of: 'address' })
    const body = { content: 'return 1', sessionToken: await visit(staticUrl, evil) }
    const { status, json } = await ask(`${staticUrl}/active-content`, evil, { body })
    assert.deepEqual([status, json['details']], [429, details])
  })

  test('S0-12: an address has a limit of tokens a minute, then 429 with Retry-After, and another still gets one', async () => {
    await using door = await openDoor({ limits: { tokensPerMinute: 20 } })
    const { staticUrl } = door.gateway
    for (let n = 0; n < 20; n++) assert.match(await visit(staticUrl, evil), /^mfs_/)
    const refused = await ask(staticUrl, evil)
    assert.deepEqual([refused.status, refused.json['code']], [429, 'RATE_LIMITED'])
    assert.ok(Number(refused.headers['retry-after']) >= 1)
    assert.equal((await ask(`${staticUrl}/mayfly.js`, evil)).status, 200)
    assert.match(await visit(staticUrl, good), /^mfs_/)
  })

  test('S0-12: behind a trusted proxy each client has its own quotas, and headers of any other peer are ignored', async () => {
    const [one, two] = ['203.0.113.1', '203.0.113.2']
    const limits = { tokensPerMinute: 3 }
    await using door = await openDoor({ limits, trustedProxies: [proxy] })
    const { staticUrl } = door.gateway
    const statusOf = async (from: string, forwarded: string) =>
      (await ask(staticUrl, from, { forwarded })).status
    for (let n = 0; n < 3; n++) assert.equal(await statusOf(proxy, one), 200)
    assert.equal(await statusOf(proxy, one), 429)
    assert.equal(await statusOf(proxy, `${two}, ${one}`), 429)
    assert.equal(await statusOf(proxy, `${one}, ${two}`), 200)
    for (let n = 0; n < 3; n++) assert.equal(await statusOf(evil, `203.0.113.${n + 3}`), 200)
    assert.equal(await statusOf(evil, '203.0.113.9'), 429)
  })

  test('S0-12: if proxy_header is Forwarded, that header names the client, and X-Forwarded-For is ignored', async () => {
    const limits = { tokensPerMinute: 2 }
    await using door = await openDoor({
      limits,
      trustedProxies: [proxy],
      proxyHeader: 'forwarded',
    })
    const { staticUrl } = door.gateway
    const statusOf = async (from: string, standard: string, forwarded?: string) =>
      (await ask(staticUrl, from, { standard, ...(forwarded && { forwarded }) })).status
    const one = 'for=203.0.113.1;proto=https'
    for (let n = 0; n < 2; n++) assert.equal(await statusOf(proxy, one, `203.0.113.${n}`), 200)
    assert.equal(await statusOf(proxy, one, '203.0.113.9'), 429)
    for (const before of ['for=203.0.113.9', 'for="', 'for=203.0.113.9;host="', 'x="\\'])
      assert.equal(await statusOf(proxy, `${before}, ${one}`), 429, before)
    assert.equal(await statusOf(proxy, `${one}, for="[2001:db8::2]:80"`), 200)
    for (let n = 0; n < 2; n++) assert.equal(await statusOf(evil, `for=203.0.113.${n + 3}`), 200)
    assert.equal(await statusOf(evil, 'for=203.0.113.9'), 429)
  })

  test('S0-12: over WebSocket too a client behind a trusted proxy is identified by its own address', async () => {
    await using door = await openDoor({ limits: { addressPerMinute: 2 }, trustedProxies: [proxy] })
    const url = `${door.gateway.activeUrl.replace('http', 'ws')}/v1/executions`
    const answer = async (forwarded: string, from = proxy) => {
      const headers = { 'x-forwarded-for': forwarded }
      const socket = new WebSocket(url, { localAddress: from, headers })
      const { promise, resolve } = Promise.withResolvers<number>()
      socket.on('error', () => undefined)
      socket.once('open', () => resolve(101))
      socket.once('unexpected-response', (_, { statusCode }) => resolve(statusCode ?? 0))
      const status = await promise
      socket.terminate()
      return status
    }
    const one = [await answer('203.0.113.1'), await answer('203.0.113.1')]
    assert.deepEqual([...one, await answer('203.0.113.1')], [101, 101, 429])
    assert.equal(await answer('203.0.113.2'), 101)
    const other = [await answer('203.0.113.3', evil), await answer('203.0.113.4', evil)]
    assert.deepEqual([...other, await answer('203.0.113.5', evil)], [101, 101, 429])
  })
})

suite('Quotas of visitors of a server', () => {
  let place: Place
  let config: string
  before(() => {
    place = makePlace()
    config = join(place.cwd, 'visitors.toml')
    const tables = [
      `[server]\ntrusted_proxies = ["${configured}"]\nproxy_header = "forwarded"`,
      '[sessions.address]\ncpu_seconds_per_minute = 0.02\nconcurrency = 2',
    ]
    writeFileSync(config, `${tables.join('\n')}\n`)
  })
  after(() => place.remove())

  async function start() {
    const server = await startServer(place, ['--config', config])
    await whenReady(server)
    const run = async (from: string, named: Pick<Asked, 'standard'> = {}) => {
      const code = 'const end = performance.now() + 1500; while (performance.now() < end);'
      const body = { content: code, sessionToken: await visit(server.static, from) }
      return await ask(new URL('/active-content', server.static), from, { body, ...named })
    }
    return { server, run }
  }

  test('S0-12: an exhausted CPU quota of an address stays exhausted after a restart, for each new token', async () => {
    const first = await start()
    const key = makeKey(place, 'default')
    assert.equal((await first.run(evil)).status, 200)
    const refused = await first.run(evil)
    const details = { limit: 'cpu_seconds_per_minute', of: 'address' }
    assert.deepEqual([refused.status, refused.json['details']], [429, details])
    assert.equal((await first.server.stop()).code, 0)

    const second = await start()
    await using server = second.server
    const again = await second.run(evil)
    assert.deepEqual([again.status, again.json['details']], [429, details])
    const behind = await second.run(configured, { standard: `for=${evil}` })
    assert.deepEqual([behind.status, behind.json['details']], [429, details])
    assert.equal((await second.run(configured, { standard: 'for=203.0.113.1' })).status, 200)
    assert.equal((await second.run(good)).status, 200)
    const url = new URL('/v1/executions', server.active)
    const ran = await ask(url, evil, { body: { code: 'return 1' }, token: key })
    assert.equal(ran.status, 200)
    await server.stop()
  })

  const skip = unable('python')
  test(
    'S0-12: sessions count as concurrent jobs of their address, for any token that opens them',
    { skip },
    async () => {
      const { server } = await start()
      await using _server = server
      const open = async (from: string) => {
        const token = await visit(server.static, from)
        const url = new URL('/active-content/sessions', server.static)
        return await ask(url, from, { body: { language: 'python' }, token })
      }
      for (let n = 0; n < 2; n++) assert.equal((await open('127.0.0.13')).status, 201)
      const third = await open('127.0.0.13')
      const details = { limit: 'concurrency', of: 'address' }
      assert.deepEqual([third.status, third.json['details']], [429, details])
      assert.equal((await open('127.0.0.14')).status, 201)
      await server.stop()
    },
  )
})
