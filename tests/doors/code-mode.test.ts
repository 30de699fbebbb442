import assert from 'node:assert/strict'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { openLog } from '../../src/evidence/log-reader.ts'
import { injection, openTestServer, type TestServer } from '../fixtures/mcp-server.ts'
import { connect, type CallAnswer, type Generation, type McpClient } from './mcp-clients.ts'
import { makeKey, makePlace, startServer, whenReady, type Place, type Server } from './program.ts'

const fixture = join(import.meta.dirname, '../fixtures/mcp-server.ts')
const golden = join(import.meta.dirname, '../golden/mcp-code-tools.json')
const secret = 'ghp_the_secret_of_the_operator'

suite('Code mode', () => {
  let place: Place
  let file: string
  let server: Server
  let upstream: TestServer
  let url: URL
  let keys: Readonly<Record<'run' | 'beside' | 'other', string>>
  const clients: McpClient[] = []
  before(async () => {
    place = makePlace()
    upstream = await openTestServer()
    file = join(place.cwd, 'servers.toml')
    const log = join(place.cwd, 'calls.jsonl')
    // A server started by root runs programs under another uid, which must write there.
    writeFileSync(log, '')
    chmodSync(log, 0o666)
    writeFileSync(
      file,
      `
[limits]
timeout = "60s"

[ceilings]
timeout = "2m"

[[tenants]]
name = "default"

[[tenants]]
name = "other"

[[mcp.servers]]
name = "hub"
url = "${upstream.url}"
headers_env = { Authorization = "HUB_AUTHORIZATION" }
approve = ["create_*", "delete-all"]
tenants = ["default"]
timeout = "10s"
answer = "64KB"

[[mcp.servers]]
name = "desk"
command = [${JSON.stringify(process.execPath)}, ${JSON.stringify(fixture)}, ${JSON.stringify(log)}]
env = ["DESK_TOKEN"]
tools = ["count", "environment", "list_*"]

[[mcp.servers]]
name = "ends"
command = ["/bin/sh", "-c", 'echo "it wrote $(touch "$HOME/own" && echo well)" >&2; exit 3']

[[mcp.servers]]
name = "gone"
url = "http://127.0.0.1:9/mcp"
tenants = ["default"]
`,
    )
    await start()
    keys = {
      run: makeKey(place, 'default'),
      beside: makeKey(place, 'default'),
      other: makeKey(place, 'other'),
    }
  })
  after(async () => {
    for (const one of clients) await one.close().catch(() => undefined)
    assert.deepEqual((await server.stop()).left, [])
    await upstream[Symbol.asyncDispose]()
    place.remove()
  })

  async function start(): Promise<void> {
    server = await startServer(place, ['--config', file], {
      HUB_AUTHORIZATION: `Bearer ${secret}`,
      DESK_TOKEN: secret,
      OTHER_SECRET: secret,
    })
    url = new URL('/mcp', server.active)
    await whenReady(server)
  }

  async function agent(
    key = keys.run,
    generation: Generation = 'modern',
    say?: (request: any) => object,
  ): Promise<McpClient> {
    const capabilities = say ? { elicitation: {} } : {}
    const one = await connect(generation, url, key, capabilities, say)
    clients.push(one)
    return one
  }

  async function execute(code: string, by?: McpClient, more: object = {}): Promise<CallAnswer> {
    return await (by ?? (await agent())).call('execute', { code, ...more })
  }

  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': { elicitation: {} },
  }

  /** Result of a raw call of `execute`, with which a client could send another caller's handle. */
  async function raw(args: object, more: object = {}, key = keys.run) {
    const params = { name: 'execute', arguments: args, _meta: meta, ...more }
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'execute',
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }),
    })
    const text = await response.text()
    const json = /^data: (\{.*)$/m.exec(text)?.[1] ?? text
    return (JSON.parse(json) as { result: Record<string, any> }).result
  }

  test('search returns declarations of the tools that the configuration allows, by keywords', async () => {
    const one = await agent()
    const found = await one.call('search', { query: 'issues repository' })
    const { functions, unavailable } = found.data as { functions: any[]; unavailable: any[] }
    assert.equal(functions[0].name, 'list_issues')
    const hub = functions.find(({ server: name }) => name === 'hub')
    assert.match(
      hub.declaration,
      /hub\.list_issues\(input: \{ repo: string; state\?: \("open" \| "closed"\) \}\): Promise<\{ issues\?: Array<\{ title\?: string \}> \}>/,
    )
    assert.doesNotMatch(hub.declaration, /\*\/ \S|(?!\n)\p{Cc}/u)
    assert.deepEqual(
      unavailable.map(({ server: name }) => name),
      ['ends', 'gone'],
    )
    const all = await one.call('search', { limit: 40 })
    const names = (all.data['functions'] as any[]).map((each) => `${each.server}.${each.name}`)
    assert.ok(
      names.includes('hub.delete_all'),
      'a tool name that is no JavaScript identifier is converted to one',
    )
    assert.deepEqual(
      names.filter((name) => name.startsWith('desk.')),
      ['desk.list_issues', 'desk.count', 'desk.environment'],
    )
    const approvals = (all.data['functions'] as any[]).filter(({ approval }) => approval)
    assert.deepEqual(
      approvals.map(({ name }) => String(name)).toSorted((a, b) => a.localeCompare(b)),
      ['create_issue', 'delete_all'],
    )
  })

  test('the tools of code mode have schemas and annotations, and are listed after the others', async () => {
    const list = await (await agent()).list()
    assert.deepEqual(list.map(({ name }) => String(name)).slice(-2), ['search', 'execute'])
    const text = `${JSON.stringify(list.slice(-2), undefined, 2)}\n`
    if (process.env['MAYFLY_GOLDEN'] === 'write') writeFileSync(golden, text)
    assert.equal(text, readFileSync(golden, 'utf8'))
  })

  test('code calls functions of HTTP servers and of a stdio server, and no credential is in the answer', async () => {
    const ran = await execute(`
      const { issues } = await hub.list_issues({ repo: 'a' })
      const [count, names] = await Promise.all([desk.count({}), desk.environment()])
      return { titles: issues.map(({ title }) => title), count, names, globals: Object.keys(globalThis).join() }`)
    assert.equal(ran.data['status'], 'ok', ran.text)
    const { titles, names } = ran.data['result']
    assert.deepEqual(titles, ['one', 'two'])
    assert.match(names, /DESK_TOKEN/)
    assert.doesNotMatch(names, /HUB_AUTHORIZATION|OTHER_SECRET|MAYFLY_API_KEY/)
    assert.doesNotMatch(JSON.stringify(ran), new RegExp(secret))
    assert.match(ran.text, /called: hub\.list_issues \(ok\)/)
    assert.match(ran.text, /untrusted/)
    assert.equal(upstream.headers.at(-1)?.authorization, `Bearer ${secret}`)
  })

  test('TypeScript runs, error lines are those of the code, and the sandbox gains no other rights', async () => {
    const typed = await execute('const n: number = 20\nreturn n + 1', undefined, { language: 'ts' })
    assert.equal(typed.data['result'], 21)
    const failed = await execute('const a = 1\n\nthrow new Error("mine")')
    assert.match(failed.text, /:3:/)
    const closed = await execute('return [typeof fetch, typeof process, typeof require]')
    assert.deepEqual(closed.data['result'], ['undefined', 'undefined', 'undefined'])
  })

  test('S4-5: the bridge enforces allowed callers, also for names that search did not list', async () => {
    const other = await agent(keys.other)
    const names = (await other.call('search', { limit: 40 })).data['functions'] as any[]
    assert.deepEqual([...new Set(names.map(({ server: name }) => name))], ['desk'])
    const log = join(place.cwd, 'calls.jsonl')
    const reached = () => [
      upstream.calls.length,
      existsSync(log) ? readFileSync(log, 'utf8').split('\n').length : 0,
    ]
    const before = reached()
    for (const code of [
      'return await call("host.call", ["hub", "list_issues", { repo: "a" }])',
      'return await call("host.call", ["desk", "create_issue", {}])',
      'return await desk.create_issue({})',
      'return await desk.constructor({})',
      'return await call("host.call", [])',
      'return await call("host.call", "hub")',
      'return await call("host.call", ["__proto__", "list_issues", {}])',
    ]) {
      const { isError, text } = await execute(code, other)
      assert.ok(isError, code)
      assert.match(text, /this caller may call no tool of this name/, code)
    }
    assert.deepEqual(reached(), before)
    await execute('return await desk.count({})', other)
    assert.ok(reached()[1]! > before[1]!, 'an allowed call is seen')
    const list = await execute('return await desk.list_issues([1])', other)
    assert.match(list.text, /expected one object/)
    const plain = await other.call('run_code', {
      code: 'return await call("host.call", ["desk", "count", {}])',
    })
    assert.ok(plain.isError, 'run_code cannot reach servers')
  })

  test('a malicious server is bounded: huge answers, missing answers, results against the schema, prompt injection', async () => {
    const huge = await execute('return await hub.huge({})')
    assert.match(huge.text, /more than \d+ bytes from a server/)
    const endless = await execute('return await hub.endless({})', undefined, {
      limits: { timeout: '100s' },
    })
    assert.ok(endless.isError)
    assert.notEqual(endless.data['status'], 'timeout', endless.text)
    const failed = await execute('return await hub.fails({})')
    assert.match(failed.text, /no such repository/)
    assert.doesNotMatch(failed.text, /(?!\n)\p{Cc}/u)
    const lie = await execute('return await hub.liar({ a: "a".repeat(60) + "!" })')
    assert.deepEqual(lie.data['result'], { n: { not: 'a number' } })
    const order = await execute('return await hub.poem({})')
    assert.equal(order.data['result'], injection)
    assert.match(order.text, /untrusted$/)
    const gone = await execute('return await gone.anything({})')
    assert.match(gone.text, /Cannot call the MCP server "gone"/)
    const ends = await execute('return await ends.anything({})')
    assert.match(ends.text, /"ends": its program ended before it answered; what it printed/)
    // HOME is a folder that it may write to, also where root started the server.
    assert.match(server.stderr(), /^MCP server "ends": it wrote well$/m)
    assert.equal((await execute('return 1')).data['result'], 1)
  })

  for (const generation of ['modern', 'handshake', 'earlier'] as const)
    test(`a call waits for the approval of a person, and calls before it are not repeated: "${generation}"`, async () => {
      const questions: string[] = []
      const by = await agent(keys.run, generation, ({ params }) => {
        questions.push(params.message)
        return { action: 'accept', content: { allow: true } }
      })
      const from = upstream.calls.length
      const code = `
        const { issues } = await hub.list_issues({ repo: '${generation}' })
        const made = []
        for (const { title } of issues) made.push(await hub.create_issue({ title: 'about ' + title }))
        return made`
      const ran = await execute(code, by)
      assert.deepEqual(
        ran.data['result'],
        ['done: {"title":"about one"}', 'done: {"title":"about two"}'],
        ran.text,
      )
      assert.equal(questions.length, 2)
      assert.match(questions[0]!, /"hub".*create_issue[^]*about one/)
      const names = upstream.calls.slice(from).map(({ name }) => name)
      assert.deepEqual(names, ['list_issues', 'create_issue', 'create_issue'])
      const calls = ran.data['calls'] as any[]
      assert.deepEqual(
        calls.map(({ replayed }) => replayed),
        [true, true, false],
      )
    })

  test('a call that a person declines throws an error that code can catch; an empty checkbox is no approval', async () => {
    for (const said of [
      { action: 'decline' },
      { action: 'cancel' },
      { action: 'accept', content: { allow: false } },
    ]) {
      const by = await agent(keys.run, 'modern', () => said)
      const from = upstream.calls.length
      const code = 'try { await hub.create_issue({}) } catch (error) { return error.message }'
      const { data } = await execute(code, by)
      assert.match(String(data['result']), /a person declined it/)
      assert.equal(upstream.calls.length, from)
    }
  })

  test('a client that cannot ask its user gets a refusal with that reason', async () => {
    const from = upstream.calls.length
    const { isError, text } = await execute('return await hub["delete_all"]({})')
    assert.ok(isError)
    assert.match(text, /it needs the approval of a person, and this client cannot ask/)
    assert.equal(upstream.calls.length, from)
  })

  test('an approval counts once, for the caller that was asked and for that call alone', async () => {
    const args = { code: 'return await hub.create_issue({ n: 1 })' }
    const inputResponses = { approve: { action: 'accept', content: { allow: true } } }
    const ask = async () => String((await raw(args))['requestState'])
    const from = upstream.calls.length
    const state = await ask()
    const reply = { inputResponses, requestState: state }
    for (const stolen of [
      await raw(args, reply, keys.beside),
      await raw(
        { code: 'return await hub.create_issue({ n: 2 })' },
        { inputResponses, requestState: await ask() },
      ),
      await raw(args, { inputResponses, requestState: 'forged' }),
    ])
      assert.match(stolen['content'][0].text, /no execution of this caller waits/)
    assert.equal(upstream.calls.length, from)
    const right = await raw(args, reply)
    assert.equal(right['structuredContent'].result, 'done: {"n":1}')
    const again = await raw(args, reply)
    assert.match(again['content'][0].text, /no execution of this caller waits/)
    assert.equal(upstream.calls.length, from + 1)
  })

  test('an execution is replayed from its recorded results without a call, and for its caller alone', async () => {
    const by = await agent()
    const first = await execute('return [await desk.count({}), await desk.count({})]', by)
    const { id } = first.data as { id: string }
    const from = upstream.calls.length
    const again = await by.call('execute', { replay: id })
    assert.deepEqual(again.data['result'], first.data['result'])
    assert.ok((again.data['calls'] as any[]).every(({ replayed }) => replayed))
    assert.equal(upstream.calls.length, from)
    const stolen = await (await agent(keys.beside)).call('execute', { replay: id })
    assert.match(stolen.text, /^NOT_FOUND/)
  })

  test('a cancelled execution cancels its calls and leaves no process', async () => {
    const by = await agent()
    const cancel = new AbortController()
    const from = upstream.calls.length
    const call = by.call(
      'execute',
      { code: 'return await hub.endless({})' },
      { signal: cancel.signal },
    )
    call.catch(() => undefined)
    for (let tries = 0; tries < 1500 && upstream.calls.length === from; tries++)
      await new Promise((resolve) => void setTimeout(resolve, 20))
    cancel.abort()
    await assert.rejects(call)
  })

  test('calls, refusals and approvals are in the record by digests, without their arguments', async () => {
    await execute('return await hub.list_issues({ repo: "very-private" })')
    using log = openLog(join(place.state, 'audit.db'))
    const text = JSON.stringify([...log.lines()])
    assert.match(text, /mcp\/called/)
    assert.match(text, /mcp\/refused/)
    assert.match(text, /mcp\/approved/)
    assert.doesNotMatch(text, /very-private/)
    assert.ok(existsSync(join(place.cwd, 'calls.jsonl')))
    assert.match(readFileSync(join(place.cwd, 'calls.jsonl'), 'utf8'), /count/)
  })

  test('after a restart the server replays an execution, and continues it at a late approval', async () => {
    const first = await execute('return await desk.count({})')
    const args = { code: 'return await hub.create_issue({ n: 3 })' }
    const inputResponses = { approve: { action: 'accept', content: { allow: true } } }
    const reply = { inputResponses, requestState: (await raw(args))['requestState'] as string }
    for (const one of clients.splice(0)) await one.close().catch(() => undefined)
    assert.deepEqual((await server.stop()).left, [])
    await start()
    const by = await agent()
    const from = upstream.calls.length
    const again = await by.call('execute', { replay: first.data['id'] })
    assert.deepEqual(again.data['result'], first.data['result'], again.text)
    assert.equal(upstream.calls.length, from)
    const stolen = await raw(args, reply, keys.beside)
    assert.match(stolen['content'][0].text, /no execution of this caller waits/)
    const right = await raw(args, reply)
    assert.equal(right['structuredContent'].result, 'done: {"n":3}')
    const twice = await raw(args, reply)
    assert.match(twice['content'][0].text, /no execution of this caller waits/)
    assert.equal(upstream.calls.length, from + 1)
  })
})
