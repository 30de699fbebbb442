import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, suite, test } from 'node:test'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { Client as EarlierClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport as EarlierStdio } from '@modelcontextprotocol/sdk/client/stdio.js'
import { descendantsOf } from '../hostile/proc.ts'
import { unable } from '../walls/process-stands.ts'
import { adapted, type McpClient } from './mcp-clients.ts'
import { bin, documentOf, leasesIn, makePlace, mayfly, remaining, type Place } from './program.ts'

const about = { name: 'tests', version: '1.0.0' }
const initialize = {
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: about },
}

suite('mayfly mcp', { skip: unable('python') }, () => {
  let place: Place
  /** State folder of the raw clients, so that all leases in it are theirs. */
  let hand: Place
  let words: string[]
  const opened: McpClient[] = []
  before(() => {
    place = makePlace()
    hand = makePlace()
    const file = join(place.cwd, 'limits.toml')
    writeFileSync(file, '[ceilings]\ntimeout = "120s"\n[limits]\ntimeout = "60s"\n')
    words = [bin, 'mcp', '--config', file]
  })
  after(async () => {
    for (const one of opened) await one.close().catch(() => undefined)
    place.remove()
    hand.remove()
  })

  const program = () => ({
    command: process.execPath,
    args: words,
    cwd: place.cwd,
    env: place.env as Record<string, string>,
    stderr: 'ignore' as const,
  })

  async function client(generation: 'modern' | 'earlier'): Promise<McpClient> {
    const one =
      generation === 'modern'
        ? new Client(about, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
        : new EarlierClient(about)
    const transport =
      generation === 'modern' ? new StdioClientTransport(program()) : new EarlierStdio(program())
    await one.connect(transport)
    const made = adapted(generation, one)
    opened.push(made)
    return made
  }

  /** A raw client: sends lines, and reads responses by their ids. */
  function byHand() {
    const child = spawn(process.execPath, words, {
      cwd: hand.cwd,
      env: hand.env,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    let id = 0
    const write = (line: string) => void child.stdin.write(`${line}\n`)
    const send = (message: object) => write(JSON.stringify({ jsonrpc: '2.0', ...message }))
    return {
      child,
      write,
      send,
      async ask(message: object): Promise<Record<string, any>> {
        const own = ++id
        send({ id: own, ...message })
        for (;;) {
          const { value, done } = await lines.next()
          if (done) throw new Error('it ended')
          const got = JSON.parse(value) as Record<string, any>
          if (got['id'] === own) return got
        }
      },
    }
  }

  async function endedWithNothingLeft(child: ChildProcess, all: readonly number[]): Promise<void> {
    if (child.exitCode === null) await once(child, 'exit')
    assert.equal(child.exitCode, 0)
    assert.deepEqual(await remaining(all), [])
    assert.deepEqual(leasesIn(hand), [])
  }

  for (const generation of ['modern', 'earlier'] as const)
    test(`an agent of generation "${generation}" writes a file, runs it, reads the error, fixes it and runs it again`, async () => {
      const agent = await client(generation)
      const { data } = await agent.call('run_session', { code: 'n = 6' })
      const { id: session } = data['session']
      await agent.call('write_file', { session, path: 'answer.py', content: 'print(n * seven)' })
      const run = { session, code: 'exec(open("answer.py").read())' }
      const failed = await agent.call('run_session', run)
      assert.match(failed.text, /NameError: name 'seven' is not defined/)
      await agent.call('write_file', { session, path: 'answer.py', content: 'print(n * 7)' })
      const right = await agent.call('run_session', run)
      assert.equal(right.data['stdout'], '42\n')
      assert.equal((await agent.call('run_session', { session, end: true })).data['status'], 'ok')
    })

  test('an image that a program writes is in the answer, and its other files are resources', async () => {
    const agent = await client('modern')
    const png = Buffer.from('89504e470d0a1a0a0000', 'hex').toString('base64')
    const code = `import base64; open("a.png", "wb").write(base64.b64decode("${png}")); open("b", "w").write("b")`
    const { content } = await agent.call('run_code', { language: 'python', code })
    assert.equal(content.find(({ type }) => type === 'image')?.['data'], png)
    const [uri] = (await agent.resources()).filter((one) => one.endsWith('/b'))
    assert.equal((await agent.read(uri!))['text'], 'b')
  })

  test('code runs within the limits of the configuration, and without a network', async () => {
    const agent = await client('modern')
    const would = await agent.call('explain', { code: 'return 1', limits: { timeout: '1h' } })
    const value = (field: string) =>
      would.data['explain'].find((one: any) => one.field === field)?.value
    assert.equal(value('limits.timeout'), 120_000)
    assert.equal(value('controls.network'), 'none')
    const ran = await agent.call('run_code', { code: 'return typeof fetch' })
    assert.equal(ran.data['result'], 'undefined')
  })

  test('EOF on stdin ends it, with running jobs and open sessions', async () => {
    const { child, ask, send } = byHand()
    const { result } = await ask(initialize)
    assert.equal(result.protocolVersion, '2025-11-25')
    send({ method: 'notifications/initialized' })
    const call = (name: string, args: object) => ({
      method: 'tools/call',
      params: { name, arguments: args },
    })
    const opening = await ask(call('run_session', { code: 'import os; os.getpid()' }))
    assert.equal(opening['result'].structuredContent.status, 'ok')
    const running = Promise.withResolvers<void>()
    child.stdout.on('data', (chunk: Buffer) => {
      if (String(chunk).includes('"under way')) running.resolve()
    })
    const params = {
      name: 'run_code',
      arguments: {
        language: 'python',
        code: 'import time\nprint("under way", flush=True)\ntime.sleep(50)',
      },
      _meta: { progressToken: 'p' },
    }
    send({ id: 'slow', method: 'tools/call', params })
    await running.promise
    const all = descendantsOf(child.pid!)
    child.stdin.end()
    await endedWithNothingLeft(child, all)
  })

  test('invalid lines, unknown ids and cancellations of unknown requests change nothing', async () => {
    const { child, ask, write, send } = byHand()
    await ask(initialize)
    write('this is no JSON')
    write('[1, 2')
    write('{"jsonrpc":"2.0"}')
    write(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)
    send({ id: 'never-asked', result: {} })
    send({ id: 'never-asked', error: { code: 1, message: 'x' } })
    send({ method: 'notifications/cancelled', params: { requestId: 'never-asked' } })
    send({ method: 'notifications/cancelled', params: { requestId: { a: 1 } } })
    const deep = JSON.parse(`${'{"a":'.repeat(200)}1${'}'.repeat(200)}`) as unknown
    const params = { name: 'run_code', arguments: { code: 'return 1', input: deep } }
    const refused = await ask({ method: 'tools/call', params })
    assert.match(refused['result'].content[0].text, /^INVALID: .*depth of 64/)
    const { result } = await ask({ method: 'tools/list' })
    assert.equal(result.tools.length, 6)
    const all = descendantsOf(child.pid!)
    child.stdin.end()
    await endedWithNothingLeft(child, all)
  })

  test('code mode on stdio calls a program of the configuration, which ends with it', async () => {
    const file = join(hand.cwd, 'servers.toml')
    const log = join(hand.cwd, 'calls.jsonl')
    const fixture = join(import.meta.dirname, '../fixtures/mcp-server.ts')
    const command = JSON.stringify([process.execPath, fixture, log])
    writeFileSync(log, '')
    // As root the program runs under another uid.
    chmodSync(log, 0o666)
    const limits = '[ceilings]\ntimeout = "120s"\n[limits]\ntimeout = "60s"\n'
    writeFileSync(file, `${limits}[[mcp.servers]]\nname = "desk"\ncommand = ${command}\n`)
    const own = new Client(about)
    const args = [bin, 'mcp', '--config', file]
    const transport = new StdioClientTransport({
      ...program(),
      args,
      env: hand.env as Record<string, string>,
    })
    await own.connect(transport)
    const all = descendantsOf(transport.pid!)
    const agent = adapted('modern', own)
    opened.push(agent)
    const { data, text } = await agent.call('execute', { code: 'return await desk.count({})' })
    assert.equal(data['result'], '1', text)
    const { pid } = JSON.parse(readFileSync(log, 'utf8').split('\n')[0]!) as { pid: number }
    await own.close()
    assert.deepEqual(await remaining([...all, pid]), [])
  })

  test('a message above the size limit ends the connection, and leaves no sandbox', async () => {
    const { child, ask } = byHand()
    await ask(initialize)
    const all = descendantsOf(child.pid!)
    child.stdin.on('error', () => undefined)
    child.stdin.write('"'.repeat(17 * 2 ** 20))
    await endedWithNothingLeft(child, all)
  })

  test('install prints the configuration of each client, and that command starts a working server', async () => {
    const clients = [
      'claude-code',
      'claude-desktop',
      'cursor',
      'vscode',
      'codex',
      'gemini',
      'windsurf',
    ]
    for (const one of clients) {
      const told = documentOf(await mayfly(place, ['mcp', 'install', one, '--json']))
      assert.match(told['configuration'], /mayfly/, one)
    }
    const { configuration } = documentOf(
      await mayfly(place, ['mcp', 'install', 'cursor', '--json']),
    )
    const { command, args } = JSON.parse(configuration as string).mcpServers.mayfly
    const one = new Client(about)
    await one.connect(new StdioClientTransport({ ...program(), command, args }))
    assert.equal((await one.listTools()).tools.length, 6)
    await one.close()
    const url = 'http://127.0.0.1:7421/mcp'
    const http = await mayfly(place, ['mcp', 'install', 'vscode', '--url', url])
    assert.match(http.stdout, /"url": "http:\/\/127\.0\.0\.1:7421\/mcp"/)
    assert.doesNotMatch(http.stdout, /mfy_/)
    const wrong = await mayfly(place, ['mcp', 'install', 'claude-desktop', '--url', url])
    assert.equal(wrong.code, 2)
    assert.equal((await mayfly(place, ['mcp', 'install', 'emacs'])).code, 2)
  })
})
