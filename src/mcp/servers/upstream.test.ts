import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, createServer as createProgram, type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { systemClock, type Clock } from '../../contract/clock.ts'
import { LoopLimiter } from '../../lib/loop-limiter.ts'
import { McpUpstream } from './upstream.ts'

const CALL_MS = 300
const secret = 'ghp_the_secret_of_the_operator'
/** Variables of a program. */
const passed = {
  DATABASE: 'postgres://hub:a-long-password@db.example/hub',
  ROOT: '/srv/projects/of-the-hub',
}
const live = new AbortController().signal

const config = {
  name: 'hub',
  headers_env: {},
  env: [],
  tools: ['*'],
  approve: [],
  timeout: CALL_MS,
  answer: 2 ** 16,
}

interface Asked {
  readonly id: number
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** MCP server of revision 2025-11-25 with played answers to calls and to GET, and an upstream of it. */
async function open(parts: {
  readonly call: (asked: Asked) => void
  readonly get?: (asked: Omit<Asked, 'id'>) => void
  /** Gets the answers of the client to requests. */
  readonly answered?: (response: ServerResponse) => void
  readonly token?: string
  readonly clock?: Clock
  readonly tools?: readonly object[]
  readonly timeout?: number
  readonly limiter?: LoopLimiter
  /** Answers a request for a page of the list of tools. */
  readonly page?: (cursor: string | undefined) => object
}) {
  const seen: string[] = []
  const http = createServer(async (request, response) => {
    const { method = '' } = request
    if (method === 'GET') seen.push(method)
    if (method === 'GET' && parts.get) return parts.get({ request, response })
    if (method !== 'POST') return void response.writeHead(405).end()
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const asked = JSON.parse(String(Buffer.concat(chunks))) as {
      id?: number
      method: string
      params?: { cursor?: string }
    }
    seen.push(asked.method)
    if (!asked.method && parts.answered) return parts.answered(response)
    if (asked.id === undefined) return void response.writeHead(202).end()
    if (asked.method === 'tools/call') return parts.call({ id: asked.id, request, response })
    response.setHeader('content-type', 'application/json')
    const isPage = asked.method === 'tools/list' && parts.page
    const answer = isPage
      ? { result: isPage(asked.params?.cursor) }
      : usual(asked.method, parts.tools)
    response.end(JSON.stringify({ jsonrpc: '2.0', id: asked.id, ...answer }))
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const upstream = new McpUpstream({
    config: {
      ...config,
      url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
      headers_env: { authorization: 'TOKEN' },
      env: Object.keys(passed),
      timeout: parts.timeout ?? CALL_MS,
    },
    version: '1',
    clock: parts.clock ?? systemClock,
    env: { TOKEN: parts.token ?? `Bearer ${secret}`, ...passed },
    startProgram: () => Promise.reject(new Error('no program')),
    ...(parts.limiter && { limiter: parts.limiter }),
  })
  return {
    upstream,
    seen,
    async [Symbol.asyncDispose]() {
      await upstream.close()
      http.closeAllConnections()
      http.close()
      await once(http, 'close')
    },
  }
}

const oneTool = [{ name: 't', inputSchema: { type: 'object' } }]

function usual(method: string, tools: readonly object[] = oneTool): object {
  if (method === 'initialize')
    return {
      result: {
        protocolVersion: '2025-11-25',
        capabilities: { tools: { listChanged: true } },
        serverInfo: { name: 'tests', version: '1' },
      },
    }
  if (method === 'tools/list') return { result: { tools } }
  return { error: { code: -32_601, message: 'Method not found' } }
}

const events = { 'content-type': 'text/event-stream' }
const answerOf = (id: number) =>
  `data: ${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'ok' }] } })}\n\n`
const again = 'retry: 0\nid: 1\ndata:\n\n'

for (const [what, first] of [
  ['answered', answerOf],
  ['timed out', () => ': nothing yet\n\n'],
  ['answered after its start', (id: number) => `${again}${answerOf(id)}`],
] as const)
  test(
    `a stream that a server leaves open is closed after its call: ${what}`,
    { timeout: 20_000 },
    async () => {
      const closed: Promise<unknown>[] = []
      await using stand = await open({
        call({ id, response }) {
          closed.push(once(response, 'close'))
          response.writeHead(200, events).write(first(id))
        },
        timeout: what === 'timed out' ? CALL_MS : 30_000,
      })
      const calls = Array.from({ length: 5 }, () => stand.upstream.call('t', {}, live))
      const ends = new Set((await Promise.allSettled(calls)).map(({ status }) => status))
      assert.deepEqual([...ends], [what === 'timed out' ? 'rejected' : 'fulfilled'])
      assert.equal(closed.length, 5)
      await Promise.all(closed)
    },
  )

/** Clock whose timers the test runs. */
function playedClock() {
  const timers = new Set<() => void>()
  const clock: Clock = {
    ...systemClock,
    after(_ms, then) {
      timers.add(then)
      return { cancel: () => void timers.delete(then) }
    },
  }
  const run = () => {
    const due = [...timers]
    timers.clear()
    for (const one of due) one()
  }
  return { clock, run, count: () => timers.size }
}

test('a server that ends each stream and asks to be asked again is not asked after the call', async () => {
  const { clock, run, count } = playedClock()
  let isHonest = false
  await using stand = await open({
    clock,
    timeout: 3_000,
    call: ({ id, response }) =>
      void response.writeHead(200, events).end(isHonest ? answerOf(id) : again),
    get: ({ response }) => void response.writeHead(200, events).end(again),
  })
  const gets = () => stand.seen.filter((method) => method === 'GET').length
  await stand.upstream.tools()
  assert.equal(gets(), 0, 'no stream is opened without a call')
  await assert.rejects(stand.upstream.call('t', {}, live), /timed out/i)
  assert.equal(gets(), 0, 'the time until the next request is that of the clock')
  const sent = stand.seen.filter((method) => method === 'tools/call')
  assert.equal(sent.length, 1, 'the call is sent once')
  isHonest = true
  const rounds = 8
  for (let round = 0; round < rounds; round++) {
    run()
    for (let calls = 0; calls < 5; calls++)
      assert.equal(await stand.upstream.call('t', {}, live), 'ok')
  }
  assert.ok(gets() <= 1, `${gets()} requests`)
  run()
  assert.equal(count(), 0, 'no timer is left')
})

test(
  'an answer that comes in a later stream of the call is received',
  { timeout: 20_000 },
  async () => {
    let id = 0
    await using stand = await open({
      call(asked) {
        id = asked.id
        asked.response.writeHead(200, events).end(again)
      },
      get({ request, response }) {
        assert.equal(request.headers['last-event-id'], '1')
        response.writeHead(200, events).end(answerOf(id))
      },
      timeout: 20_000,
    })
    assert.equal(await stand.upstream.call('t', {}, live), 'ok')
  },
)

test('a server that asks the client 500 times gets four answers at a time, and calls of it go on', async () => {
  let asks = 500
  const held: ServerResponse[] = []
  const answered = Promise.withResolvers<void>()
  await using stand = await open({
    call({ id, response }) {
      const asked = (n: number) => ({ jsonrpc: '2.0', id: `p${n}`, method: 'roots/list' })
      response.writeHead(200, events)
      for (; asks > 0; asks--) response.write(`data: ${JSON.stringify(asked(asks))}\n\n`)
      response.end(answerOf(id))
    },
    answered(response) {
      held.push(response)
      answered.resolve()
    },
    timeout: 20_000,
  })
  assert.equal(await stand.upstream.call('t', {}, live), 'ok')
  await answered.promise
  for (let round = 0; round < 20; round++) await stand.upstream.call('u', {}, live)
  assert.ok(held.length <= 4, `${held.length} answers`)
})

test('tools whose names are empty, above 128 characters or no printable line are left out of the list', async () => {
  const good = ['list_issues', 'Liste öffnen: 日本', 'a/b.c-d', 'a'.repeat(128)]
  const bad = ['', 'a'.repeat(129), 'a\nb', 'a\u001b[2J', 'a\u202eb', 'a\u2028b', 'a\ud800']
  await using stand = await open({
    call: () => undefined,
    tools: [...bad, ...good].map((name) => ({ name, inputSchema: { type: 'object' } })),
  })
  const listed = await stand.upstream.tools()
  assert.deepEqual(
    listed.map(({ name }) => name),
    good,
  )
})

test('a result contains no credential that a server returns, and a short word of a header stays', async () => {
  await using stand = await open({
    token: `Bearer ${secret}"2 2022-11-28`,
    call({ id, request, response }) {
      const { authorization = '' } = request.headers
      const words = authorization.split(' ')
      const structuredContent = { authorization, words, [words[1]!]: 1, ...passed }
      const result = { content: [], structuredContent }
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
    },
  })
  assert.deepEqual(await stand.upstream.call('t', {}, live), {
    authorization: '[credential]',
    words: ['Bearer', '[credential]', '2022-11-28'],
    '[credential]': 1,
    DATABASE: '[credential]',
    ROOT: passed.ROOT,
  })
})

test('an answer that is nested too deep is not parsed', async () => {
  await using stand = await open({
    call({ id, response }) {
      response.setHeader('content-type', 'application/json')
      // An answer without an end: a parser would wait for more.
      const deep = '['.repeat(5000)
      response.write(`{"jsonrpc":"2.0","id":${id},"result":{"content":[],"_meta":{"a":${deep}`)
    },
    timeout: 20_000,
  })
  await assert.rejects(stand.upstream.call('t', {}, live), /JSON this deep/)
})

for (const [what, token] of [
  ['that a server returns', `Bearer ${secret}`],
  ['with a line end, which no header may have', `Bearer\n${secret}`],
] as const)
  test(`an error contains no credential ${what}`, async () => {
    await using stand = await open({
      token,
      call: ({ request, response }) =>
        void response.writeHead(500).end(`You sent ${request.headers.authorization}`),
    })
    await assert.rejects(stand.upstream.call('t', {}, live), (error: Error) => {
      assert.match(error.message, /\[credential\]/)
      assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), new RegExp(secret))
      return true
    })
  })

test('an error of a tool that is cut inside a credential contains no part of it', async () => {
  for (const left of [1, 12, secret.length]) {
    await using stand = await open({
      call({ id, response }) {
        const text = `${'x'.repeat(500 - secret.length + left)}${secret} was sent`
        const result = { isError: true, content: [{ type: 'text', text }] }
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
      },
    })
    await assert.rejects(stand.upstream.call('t', {}, live), (error: Error) => {
      assert.match(error.message, /^x+/)
      assert.ok(error.message.length <= 500)
      assert.ok(!error.message.includes(secret.slice(0, 4)), error.message.slice(-40))
      return true
    })
  }
})

test('a list of tools on many pages has the bound of one', async () => {
  const description = 'x'.repeat(2 ** 20)
  let pages = 0
  await using stand = await open({
    call: () => undefined,
    page: () => ({
      tools: [{ ...oneTool[0], name: `t${++pages}`, description }],
      nextCursor: String(pages),
    }),
  })
  await assert.rejects(stand.upstream.tools(), /more than \d+ bytes/)
  assert.ok(pages <= 5, `${pages} pages`)
})

test(
  'a list of tools on many pages of a program has the bound of one',
  { timeout: 20_000 },
  async () => {
    const description = 'x'.repeat(2 ** 20)
    let pages = 0
    const program = createProgram((socket) => {
      let unread = ''
      socket.on('error', () => undefined)
      socket.on('data', (chunk) => {
        const lines = (unread + String(chunk)).split('\n')
        unread = lines.pop()!
        for (const line of lines) {
          const { id, method } = JSON.parse(line) as { id?: number; method: string }
          if (id === undefined) continue
          const isList = method === 'tools/list'
          const tools = isList ? [{ ...oneTool[0], name: `t${++pages}`, description }] : oneTool
          const page = { result: { tools, nextCursor: String(pages) } }
          const answer = { jsonrpc: '2.0', id, ...(isList ? page : usual(method)) }
          socket.write(`${JSON.stringify(answer)}\n`)
        }
      })
    }).listen(0, '127.0.0.1')
    await once(program, 'listening')
    const upstream = new McpUpstream({
      config: { ...config, command: ['program'] },
      version: '1',
      clock: systemClock,
      env: {},
      startProgram: async () => connect((program.address() as AddressInfo).port, '127.0.0.1'),
    })
    await assert.rejects(upstream.tools(), { code: 'UNAVAILABLE' })
    assert.ok(pages <= 5, `${pages} pages`)
    await upstream.close()
    program.close()
  },
)

test('answers of many small values wait for the share of the event loop that their server has', async () => {
  let waits = 0
  let skippedMs = 0
  const limiter = new LoopLimiter({
    now: () => performance.now() + skippedMs,
    async wait(ms) {
      waits++
      skippedMs += ms
    },
  })
  const value = `{"a":[${'{},'.repeat(1_300_000)}{}]}`
  await using stand = await open({
    limiter,
    timeout: 20_000,
    call({ id, response }) {
      response.setHeader('content-type', 'application/json')
      response.end(
        `{"jsonrpc":"2.0","id":${id},"result":{"content":[],"structuredContent":${value}}}`,
      )
    },
  })
  for (let n = 0; n < 3; n++)
    await assert.rejects(stand.upstream.call('t', {}, live), /more than 65536 bytes/)
  assert.ok(waits > 0)
})
