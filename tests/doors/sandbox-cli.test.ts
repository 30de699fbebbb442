import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, suite, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { test } from '../fixtures/drawn.ts'
import { isMissing } from '../walls/process-stands.ts'
import { noTerminal } from './on-terminal.ts'
import {
  bin,
  documentOf,
  makePlace,
  mayfly,
  startServer,
  whenReady,
  type Place,
  type Server,
} from './program.ts'

suite('mayfly sandbox', () => {
  let place: Place
  let server: Server
  before(async () => {
    place = makePlace()
    server = await startServer(place)
    await whenReady(server)
  })
  after(async () => {
    await server.stop()
    place.remove()
  })

  const reached = () => ({ MAYFLY_API_KEY: server.apiKey, MAYFLY_SERVER: server.active })
  const sandbox = (...args: readonly string[]) =>
    mayfly(place, ['sandbox', ...args], { env: reached() })

  /** Starts a job in an isolate, and waits until it runs. */
  async function begun(): Promise<string> {
    const response = await fetch(new URL('/v1/executions', server.active), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.apiKey}`,
        'content-type': 'application/json',
        prefer: 'respond-async',
      },
      body: JSON.stringify({
        code: 'await new Promise(() => {})',
        language: 'js',
        limits: { timeout: '30s' },
      }),
    })
    const { id } = (await response.json()) as { id: string }
    for (let tries = 0; tries < 100; tries++) {
      const found = documentOf(await sandbox('list', '--json')) as unknown as {
        id: string
        phase: string | null
      }[]
      if (found.some((one) => one.id === id && one.phase !== null)) return id
      await sleep(20)
    }
    throw new Error('The job did not begin')
  }

  test('A sandbox is listed, shown, captured and ended from the command line', async () => {
    const id = await begun()
    const listed = await sandbox('list')
    assert.ok(listed.stdout.includes(id))
    const shown = documentOf(await sandbox('show', id, '--json'))
    assert.deepEqual(
      [shown['id'], shown['provider'], shown['frozen'], shown['behaviorScore']],
      [id, 'isolated-vm', false, 0],
    )
    assert.match((await sandbox('show', id)).stdout, /^ {2}behavior 0$/m)
    const captured = documentOf(await sandbox('capture', id, '--json'))
    assert.equal(captured['kind'], 'none')
    const killed = await sandbox('kill', id)
    assert.equal(killed.code, 0)
    assert.match(killed.stdout, /ended as terminated/)
    const gone = await sandbox('show', id, '--json')
    assert.deepEqual([gone.code, documentOf(gone)['error'].code], [1, 'NOT_FOUND'])
  })

  test('A command that would loosen, or that a wall does not support, is refused with the reason and exit code 1', async () => {
    const id = await begun()
    const loosened = await sandbox('tighten', id, '--network', 'api.example.com', '--json')
    const { error } = documentOf(loosened)
    assert.deepEqual(
      [loosened.code, error.code, error.details.looser],
      [1, 'CONFLICT', ['network']],
    )
    const frozen = await sandbox('freeze', id)
    assert.equal(frozen.code, 1)
    assert.match(frozen.stderr, /its wall, "isolated-vm", is not able to/)
    assert.equal((await sandbox('tighten', id)).code, 2)
    assert.equal((await sandbox('kill', id, '--quiet')).code, 0)
  })

  test('A command gets standard input with --stdin, and without it is told of a file that nobody read', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const made = await sandbox('create', '--language', 'python')
    assert.equal(made.code, 0, made.stderr)
    const id = made.stdout.trim()
    const count = (stdin: string, ...flags: readonly string[]) =>
      mayfly(place, ['sandbox', 'exec', id, ...flags, '--', 'wc', '-l'], { env: reached(), stdin })
    const passed = await count('a\nb\n', '--stdin')
    assert.equal(passed.stdout.trim(), '2', passed.stderr)
    assert.doesNotMatch(passed.stderr, /Standard input/)
    writeFileSync(join(place.cwd, 'rows'), 'a\n')
    const own = `'${process.execPath}' '${bin}' sandbox exec ${id}`
    const inShell = (text: string, stdin: string) =>
      mayfly({ ...place, become: ['sh', '-c', text] }, [], { env: reached(), stdin })
    const kept = await inShell(`${own} -- wc -l < rows`, '')
    assert.equal(kept.stdout.trim(), '0', kept.stderr)
    assert.match(kept.stderr, /^Standard input was not passed on: --stdin passes it on$/m)
    assert.doesNotMatch((await count('')).stderr, /Standard input/)
    const twice = await sandbox('exec', id, '-', '--stdin')
    assert.equal(twice.code, 2)
    // Each command of a loop leaves the pipe to the next.
    assert.equal((await inShell(`${own} -- true; cat`, 'left')).stdout, 'left')
    assert.equal((await sandbox('kill', id, '--quiet')).code, 0)
  })

  test('Without a key, without a server, or over plain HTTP off loopback, it prints a hint', async () => {
    const bare = (env: NodeJS.ProcessEnv, ...args: readonly string[]) =>
      mayfly(place, ['sandbox', 'list', ...args], { env })
    const noKey = await bare({ MAYFLY_SERVER: server.active })
    assert.equal(noKey.code, 2)
    assert.match(noKey.stderr, /MAYFLY_API_KEY/)
    const MAYFLY_API_KEY = server.apiKey
    const nobody = await bare({ MAYFLY_API_KEY, MAYFLY_PORT: '9' })
    assert.equal(nobody.code, 1)
    const neither = await mayfly(place, ['sandbox', 'create'], { env: { MAYFLY_PORT: '9' } })
    for (const { stderr } of [nobody, neither])
      assert.match(stderr, /Cannot reach a server at ".*": no server runs there\n.*mayfly serve/)
    assert.match(nobody.stderr, /Cannot reach a server at "http:\/\/127\.0\.0\.1:10"/)
    const inClear = await bare({ MAYFLY_API_KEY }, '--server', 'http://mayfly.example.com:7421')
    assert.equal(inClear.code, 2)
    assert.match(inClear.stderr, /unencrypted to "mayfly.example.com:7421"/)
    const page = await bare({ MAYFLY_API_KEY }, '--server', server.static)
    assert.deepEqual([page.code, /the port of the page \+ 1/.test(page.stderr)], [1, true])
    const stranger = await bare({ MAYFLY_API_KEY: 'x'.repeat(40) }, '--server', server.active)
    assert.equal(stranger.code, 1)
    assert.match(stranger.stderr, /Cannot accept this API key/)
  })
})

suite('mayfly sandbox with a server that may be hostile', () => {
  /** Place whose commands call a server that answers each request like this. */
  async function placeWith(t: TestContext, listener: RequestListener): Promise<Place> {
    const place = makePlace()
    const server = createServer(listener)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.after(() => {
      server.close()
      server.closeAllConnections()
      place.remove()
    })
    const { port } = server.address() as AddressInfo
    const called = { MAYFLY_API_KEY: 'k', MAYFLY_SERVER: `http://127.0.0.1:${port}` }
    return { ...place, env: { ...place.env, ...called } }
  }

  test(
    'Attack: a file of a session has its control characters escaped on a terminal, and in a pipe none',
    { skip: noTerminal() },
    async (t) => {
      const file = 'a\x1b]0;owned\x07\nb'
      const place = await placeWith(t, (_, response) => response.end(file))
      const words = ['sandbox', 'get', 'box', 'report.txt']
      // A synchronous call would hold up the server, which is in this process.
      const line = `'${process.execPath}' '${bin}' ${words.join(' ')}`
      const { cwd, env } = place
      const shown = await promisify(execFile)('script', ['-qec', line, '/dev/null'], { cwd, env })
      assert.match(shown.stdout, /^a\\x1b\]0;owned\\x07\r?\nb$/)
      assert.equal((await mayfly(place, words)).stdout, file)
    },
  )

  test('Attack: an answer that is large once it is decompressed is refused by every command', async (t) => {
    const zipped = gzipSync(`{"entries":[],"children":[],"size":1,"code":"${'0'.repeat(2 ** 26)}"}`)
    const place = await placeWith(t, (request, response) => {
      const status = request.url?.endsWith('/freeze') ? 500 : 200
      const type = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
      request.resume()
      response.writeHead(status, type).end(zipped)
    })
    for (const words of [
      ['files', 'box'],
      ['freeze', 'box'],
      ['get', 'box', 'a'],
      ['put', 'box', bin],
      ['fork', 'box'],
      ['exec', 'box', '--', 'true'],
    ]) {
      const { code, stdout, stderr } = await mayfly(place, ['sandbox', ...words])
      assert.match(stderr, /^mayfly: Cannot read the answer of "http:.*": it is too large$/m)
      assert.deepEqual([code, stdout], [words[0] === 'exec' ? 125 : 1, ''], words.join(' '))
    }
  })
})
