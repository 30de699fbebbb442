import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { calls, pageCalls } from '../../src/gateway/routes.ts'
import { openLog } from '../../src/evidence/log-reader.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { wallFolder } from '../../src/warden/engines/wall-folder.ts'
import { test } from '../fixtures/drawn.ts'
import { unable } from '../walls/process-stands.ts'
import {
  documentOf,
  leasesIn,
  makeKey,
  makePlace,
  mayfly,
  startServer,
  whenReady,
  type Place,
  type Server,
} from './program.ts'

const unhurried = { timeout: '60s' }
const config = `
[[tenants]]
name = "default"

[[tenants]]
name = "small"
ceilings = { concurrency = 2 }
`

suite('Sessions of a server', { skip: unable('python') }, () => {
  let place: Place
  let server: Server
  let keyOf: Readonly<Record<'run' | 'other' | 'foreign' | 'small', string>>
  before(async () => {
    place = makePlace()
    const file = join(place.cwd, 'sessions.toml')
    writeFileSync(file, config)
    server = await startServer(place, ['--config', file])
    const made = (tenant: string) => makeKey(place, tenant)
    keyOf = {
      run: made('default'),
      other: made('default'),
      foreign: made('strange'),
      small: made('small'),
    }
    await whenReady(server)
  })
  after(async () => {
    await server.stop()
    place.remove()
  })

  async function ask(
    method: string,
    path: string,
    body?: unknown,
    key: string = keyOf.run,
    at = server.active,
  ) {
    const isBytes = body instanceof Uint8Array
    const response = await fetch(new URL(path, at), {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && {
          'content-type': isBytes ? 'application/octet-stream' : 'application/json',
        }),
      },
      ...(body !== undefined && { body: isBytes ? Buffer.from(body) : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.includes('json')
    return { status: response.status, text, body: isJson ? JSON.parse(text) : undefined }
  }

  async function whenBusy(id: string): Promise<void> {
    for (let tries = 0; tries < 500; tries++) {
      if ((await ask('GET', `/v1/sandboxes/${id}`)).body.busy) return
      await sleep(20)
    }
    assert.fail('no exec has begun')
  }

  async function opened(asked: object = {}, key: string = keyOf.run): Promise<string> {
    const { status, body } = await ask(
      'POST',
      '/v1/sandboxes',
      { language: 'python', limits: unhurried, ...asked },
      key,
    )
    assert.equal(status, 201, JSON.stringify(body))
    return body.id as string
  }

  test('POST opens a session, runs keep state, DELETE returns the outcome of the whole session, then 410', async () => {
    const began = Date.now()
    const made = await ask('POST', '/v1/sandboxes', {
      language: 'python',
      timeout: '2m',
      limits: unhurried,
    })
    assert.equal(made.status, 201)
    const { id, language, tier, expiresAt } = made.body
    assert.deepEqual([language, tier], ['python', 'process'])
    const left = Date.parse(expiresAt) - began
    assert.ok(left > 60_000 && left < 300_000, `${left}`)
    const run = (body: object) => ask('POST', `/v1/sandboxes/${id}/run`, body)
    assert.equal((await run({ code: 'x = 20' })).body.status, 'ok')
    const second = (await run({ code: 'x + input', input: 1 })).body
    assert.deepEqual([second.result, second.session.id, second.session.state], [21, id, 'kept'])
    const outcome = await ask('GET', `/v1/executions/${second.id}`)
    assert.deepEqual([outcome.status, outcome.body.result], [200, 21])
    assert.equal(
      (await ask('GET', `/v1/executions/${id}`)).status,
      404,
      'an open session is not listed as an execution',
    )
    const ended = await ask('DELETE', `/v1/sandboxes/${id}`)
    assert.deepEqual([ended.status, ended.body.id, ended.body.status], [200, id, 'ok'])
    const gone = await ask('POST', `/v1/sandboxes/${id}/run`, { code: 'x' })
    assert.deepEqual(
      [gone.status, gone.body.code, gone.body.details.outcome.status],
      [410, 'SESSION_ENDED', 'ok'],
    )
  })

  test('an open session is no execution: its outcome, timeline, zones and artifacts are 404 for every key of its tenant', async () => {
    const before = (await ask('POST', '/v1/executions', { code: 'return 1' })).body.id
    const id = await opened({ language: 'js' })
    const page = (await ask('GET', '/v1/executions?limit=1')).body
    assert.deepEqual([page.items.length, page.items[0]?.id], [1, before])
    const execution = `/v1/executions/${id}`
    for (const key of [keyOf.run, keyOf.other])
      for (const path of [
        execution,
        `${execution}/timeline.svg`,
        `${execution}/artifacts/x`,
        `/v1/zones/${id}`,
      ])
        assert.equal((await ask('GET', path, undefined, key)).status, 404, path)
    assert.equal((await ask('DELETE', `/v1/sandboxes/${id}`)).body.status, 'ok')
    for (const path of [execution, `${execution}/timeline.svg`, `/v1/zones/${id}`])
      assert.equal((await ask('GET', path)).status, 200, path)
  })

  test('js and ts sessions keep an isolate, and have no files or commands', async () => {
    const id = await opened({ language: 'ts' })
    const run = (body: object) => ask('POST', `/v1/sandboxes/${id}/run`, body)
    assert.equal((await run({ code: 'const x: number = 20' })).body.status, 'ok')
    const second = (await run({ code: 'x + input', input: 1 })).body
    assert.deepEqual([second.result, second.session.state], [21, 'kept'])
    assert.equal((await ask('GET', `/v1/sandboxes/${id}`)).body.tier, 'isolate')
    const refused = [
      await ask('GET', `/v1/sandboxes/${id}/files`),
      await ask('PUT', `/v1/sandboxes/${id}/files?path=a`, Buffer.from('a')),
      await run({ command: 'ls' }),
    ]
    assert.deepEqual(
      refused.map(({ status, body }) => [status, body.code]),
      refused.map(() => [422, 'INVALID']),
    )
    assert.equal((await ask('DELETE', `/v1/sandboxes/${id}`)).body.status, 'ok')
  })

  test('commands and cells of each language open their standard streams by name', async () => {
    const script = 'echo out > /dev/stdout; echo err | tee /dev/stderr >&2'
    const cells = {
      python: `import os; os.system(${JSON.stringify(script)}); None`,
      node: `require('child_process').execSync(${JSON.stringify(script)}, { stdio: 'inherit' }); null`,
      bash: script,
    }
    for (const [language, code] of Object.entries(cells)) {
      const id = await opened({ language })
      for (const asked of [{ code }, { command: ['bash', '-c', script] }]) {
        const { body } = await ask('POST', `/v1/sandboxes/${id}/run`, asked)
        assert.deepEqual([body.stdout, body.stderr], ['out\n', 'err\nerr\n'], language)
      }
      await ask('DELETE', `/v1/sandboxes/${id}`)
    }
  })

  test('a run streams its output as events, with the outcome last', async () => {
    const id = await opened()
    const response = await fetch(new URL(`/v1/sandboxes/${id}/run`, server.active), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${keyOf.run}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
      },
      body: JSON.stringify({ code: 'print("seen")\n21' }),
    })
    const text = await response.text()
    const names = [...text.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name)
    assert.equal(names.at(-1), 'outcome')
    assert.match(text, /event: stdout\ndata: \{"text":"seen\\n"\}/)
    await ask('DELETE', `/v1/sandboxes/${id}`)
  })

  test('files are uploaded and downloaded by path, and no path leaves the working folder', async () => {
    const id = await opened({ files: [{ path: 'given.txt', content: 'given' }] })
    const files = `/v1/sandboxes/${id}/files`
    assert.equal(
      (await ask('PUT', `${files}?path=in/a.bin`, new Uint8Array([1, 2, 255]))).body.size,
      3,
    )
    const read = (
      await ask('POST', `/v1/sandboxes/${id}/run`, { code: 'list(open("in/a.bin", "rb").read())' })
    ).body
    assert.deepEqual(read.result, [1, 2, 255])
    assert.equal((await ask('GET', `${files}?path=given.txt`)).text, 'given')
    const { entries } = (await ask('GET', files)).body
    assert.ok(entries.some(({ path }: { path: string }) => path === 'in/a.bin'))
    for (const path of ['../up', '/etc/passwd', '', 'a/../../b'])
      assert.equal(
        (await ask('GET', `${files}?path=${encodeURIComponent(path)}`)).status,
        422,
        path,
      )
    assert.equal((await ask('GET', `${files}?path=none`)).status, 404)
    await ask('DELETE', `/v1/sandboxes/${id}`)
  })

  test('a session belongs to its key and to admins: each route is 404 for any other key, and 401 without one', async () => {
    const id = await opened({ labels: { whose: 'own' } })
    const reached = await opened()
    // In both, because a file that is not there would be 404 too.
    for (const one of [id, reached]) {
      const put = await ask('PUT', `/v1/sandboxes/${one}/files?path=a`, new Uint8Array([1]))
      assert.equal(put.status, 200, put.text)
    }
    const page = await (await fetch(server.static)).text()
    const token = /<meta name="mayfly-session" content="([^"]+)">/.exec(page)?.[1]
    assert.ok(token)
    const tried = new Set<string>()
    for (const [path, methods] of Object.entries(calls)) {
      if (!path.startsWith('/v1/sandboxes/{id}')) continue
      for (const method of Object.keys(methods)) {
        const what = `${method} ${path}`
        tried.add(what)
        const at = path.replace('{id}', id) + (path.endsWith('/files') ? '?path=a' : '')
        const body = bodyOf(method, path)
        for (const key of [keyOf.other, keyOf.foreign])
          assert.equal((await ask(method, at, body, key)).status, 404, what)
        for (const key of ['mfy_no-such-key', token, ''])
          assert.equal((await ask(method, at, body, key)).status, 401, what)
        if (method === 'DELETE') continue
        const { status } = await ask(method, at.replace(id, reached), body)
        assert.ok(status !== 404 && status !== 401, `${what}: ${status} for the key of a session`)
      }
    }
    await ask('DELETE', `/v1/sandboxes/${reached}`)
    for (const [path, methods] of Object.entries(pageCalls)) {
      if (!path.startsWith('/active-content/sessions/{id}')) continue
      for (const method of Object.keys(methods)) {
        tried.add(`${method} ${path}`)
        const at = path.replace('{id}', id)
        const body = bodyOf(method, path)
        const { status } = await ask(method, at, body, token, server.static)
        assert.ok(status === 404 || status === 401, `${method} ${path}: ${status}`)
        const byKey = await ask(method, at, body, keyOf.run, server.static)
        assert.equal(byKey.status, 401, `${method} ${path}: a key is no token`)
      }
    }
    for (const route of ['/v1/sandboxes/{id}', '/active-content/sessions/{id}'])
      for (const what of [`GET ${route}`, `DELETE ${route}`, `POST ${route}/run`])
        assert.ok(tried.has(what), what)
    const own = '/v1/sandboxes?label=whose:own'
    for (const key of [keyOf.other, keyOf.foreign])
      for (const method of ['GET', 'DELETE'])
        assert.deepEqual((await ask(method, own, undefined, key)).body.items, [], method)
    const listed = async (key: string) =>
      (await ask('GET', '/v1/sandboxes', undefined, key)).body.items.map(
        (one: { id: string }) => one.id,
      )
    assert.deepEqual(await listed(keyOf.other), [])
    assert.deepEqual(await listed(keyOf.foreign), [])
    assert.ok((await listed(keyOf.run)).includes(id))
    assert.ok((await listed(server.apiKey)).includes(id))
    assert.equal(
      (await ask('POST', `/v1/sandboxes/${id}/run`, { code: '1' }, server.apiKey)).body.result,
      1,
    )
    assert.equal((await ask('DELETE', `/v1/sandboxes/${id}`)).status, 200)
    const after = await ask('GET', `/v1/sandboxes/${id}`, undefined, keyOf.other)
    assert.equal(after.status, 404, 'an ended session is unknown to other keys too')
  })

  test('sessions are listed and ended by label; an operator tightens one for good, and cannot loosen it', async () => {
    const labels = { team: 'blue' }
    const [first, second] = [await opened({ labels }), await opened({ labels })]
    const other = await opened({ labels: { team: 'red' } })
    const blue = '/v1/sandboxes?label=team:blue'
    for (const query of [`${blue}&label=team:red`, `${blue}&lable=task:1`])
      for (const method of ['GET', 'DELETE'])
        assert.equal((await ask(method, query)).status, 422, `${method} ${query}`)
    const ids = (await ask('GET', blue)).body.items.map((one: { id: string }) => one.id)
    assert.deepEqual(ids.sort(), [first, second].sort())
    const tightened = await ask(
      'POST',
      `/v1/sandboxes/${first}/tighten`,
      { controls: { memory: '96MB' } },
      server.apiKey,
    )
    assert.deepEqual([tightened.status, tightened.body.held], [200, true])
    for (const memory of ['97MB', '1GB']) {
      const order = { controls: { memory } }
      const loosened = await ask('POST', `/v1/sandboxes/${first}/tighten`, order)
      assert.deepEqual([loosened.status, loosened.body.code], [409, 'CONFLICT'], memory)
    }
    const lower = { controls: { memory: '95MB' } }
    assert.equal((await ask('POST', `/v1/sandboxes/${first}/tighten`, lower)).status, 200)
    assert.equal((await ask('POST', `/v1/sandboxes/${first}/run`, { code: '1' })).body.status, 'ok')
    assert.equal((await ask('DELETE', '/v1/sandboxes')).status, 422)
    assert.equal((await ask('DELETE', blue)).body.items.length, 2)
    for (const id of [first, second])
      assert.equal((await ask('GET', `/v1/sandboxes/${id}`)).status, 410)
    assert.equal((await ask('GET', `/v1/sandboxes/${other}`)).status, 200)
    await ask('DELETE', `/v1/sandboxes/${other}`)
  })

  test('a retry with the same Idempotency-Key gets the same session, and its end after that', async () => {
    const open = (body: object, key = 'open-once') =>
      fetch(new URL('/v1/sandboxes', server.active), {
        method: 'POST',
        headers: {
          authorization: `Bearer ${keyOf.run}`,
          'content-type': 'application/json',
          'idempotency-key': key,
        },
        body: JSON.stringify({ language: 'python', ...body }),
      })
    const first = await open({})
    const { id } = (await first.json()) as { id: string }
    assert.equal(first.status, 201)
    const again = await open({})
    assert.deepEqual([again.status, again.headers.get('idempotent-replayed')], [201, 'true'])
    assert.equal(((await again.json()) as { id: string }).id, id)
    assert.equal((await open({ language: 'sh' })).status, 422, 'another body under one key')
    assert.equal((await ask('DELETE', `/v1/sandboxes/${id}`)).status, 200)
    const late = await open({})
    const { code, details } = (await late.json()) as any
    assert.deepEqual([late.status, code, details.outcome.id], [410, 'SESSION_ENDED', id])
  })

  test('requests at once with the same Idempotency-Key open one session, and none of them is told that it has ended', async () => {
    const open = () =>
      fetch(new URL('/v1/sandboxes', server.active), {
        method: 'POST',
        headers: {
          authorization: `Bearer ${keyOf.run}`,
          'content-type': 'application/json',
          'idempotency-key': 'open-at-once',
        },
        body: JSON.stringify({ language: 'python', labels: { open: 'at-once' } }),
      })
    const answers = await Promise.all(
      [open(), open(), open()].map(async (one) => {
        const answer = await one
        return { status: answer.status, body: (await answer.json()) as any }
      }),
    )
    const ids = new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.id))
    assert.equal(ids.size, 1)
    for (const { status, body } of answers)
      if (status !== 201) assert.deepEqual([status, body.code], [409, 'CONFLICT'])
    const [id] = ids
    const { items } = (await ask('GET', '/v1/sandboxes?label=open:at-once')).body
    assert.deepEqual(
      items.map((one: { id: string }) => one.id),
      [id],
    )
    assert.equal((await ask('DELETE', `/v1/sandboxes/${id}`)).status, 200)
  })

  test('a repeated run gets the outcome of the first one, while another runs and after it has ended its session', async () => {
    const id = await opened({ limits: { ...unhurried, memory: '64MB' } })
    const run = async (code: string, key: string, signal?: AbortSignal) => {
      const response = await fetch(new URL(`/v1/sandboxes/${id}/run`, server.active), {
        method: 'POST',
        headers: {
          authorization: `Bearer ${keyOf.run}`,
          'content-type': 'application/json',
          'idempotency-key': key,
        },
        body: JSON.stringify({ code }),
        ...(signal && { signal }),
      })
      const replayed = response.headers.get('idempotent-replayed')
      const retry = response.headers.get('retry-after')
      return { status: response.status, body: (await response.json()) as any, replayed, retry }
    }
    const ended = async (code: string, key: string) => {
      let answer = await run(code, key)
      for (let tries = 0; tries < 60 && answer.status === 409; tries++) {
        assert.deepEqual([answer.body.code, answer.retry], ['CONFLICT', '1'])
        await sleep(1000)
        answer = await run(code, key)
      }
      return answer
    }
    const slow = `import time\ntime.sleep(2)\n"slow"`
    const gone = new AbortController()
    const first = run(slow, 'run-once', gone.signal)
    await whenBusy(id)
    gone.abort()
    await first.catch(() => undefined)
    const waited = await ended(slow, 'run-once')
    assert.deepEqual([waited.body.result, waited.replayed], ['slow', 'true'])

    const hog = 'import time\ntime.sleep(3)\nhog = bytearray(10**9)'
    const over = run(hog, 'run-over')
    await whenBusy(id)
    const beside = await run(slow, 'run-once')
    assert.deepEqual([beside.status, beside.body.id], [200, waited.body.id])
    const { status, body } = await over
    assert.equal((await ask('GET', `/v1/sandboxes/${id}`)).status, 410, JSON.stringify(body))
    const again = await run(hog, 'run-over')
    assert.deepEqual([again.status, again.body, again.replayed], [status, body, 'true'])
  })

  test('a session ends at its timeout unless it is renewed, and an idle one earlier', async () => {
    const [short, renewed, idle] = [
      await opened({ timeout: '1s' }),
      await opened({ timeout: '1s' }),
      await opened({ idle: '1s' }),
    ]
    const longer = await ask('POST', `/v1/sandboxes/${renewed}/timeout`, { timeout: '10m' })
    assert.ok(Date.parse(longer.body.expiresAt) > Date.now() + 300_000)
    const beyond = await ask('POST', `/v1/sandboxes/${renewed}/timeout`, { timeout: '24h' })
    assert.ok(
      Date.parse(beyond.body.expiresAt) < Date.now() + 4_000_000,
      'the longest life is an hour',
    )
    for (const id of [short, idle]) {
      for (let tries = 0; tries < 300; tries++) {
        if ((await ask('GET', `/v1/sandboxes/${id}`)).status === 410) break
        await sleep(50)
      }
      assert.equal((await ask('GET', `/v1/sandboxes/${id}`)).status, 410)
    }
    assert.equal((await ask('GET', `/v1/sandboxes/${renewed}`)).status, 200)
    await ask('DELETE', `/v1/sandboxes/${renewed}`)
  })

  test('memory over the limit between two execs ends a session, and each later call reports the reason', async () => {
    const id = await opened({ limits: { ...unhurried, memory: '64MB' } })
    const late =
      'import threading\nheld = []\ndef grow():\n  while True: held.append(b"x" * (4 * 2**20))\nthreading.Timer(0.2, grow).start()'
    assert.equal((await ask('POST', `/v1/sandboxes/${id}/run`, { code: late })).body.status, 'ok')
    for (let tries = 0; tries < 500; tries++) {
      if ((await ask('GET', `/v1/sandboxes/${id}`)).status === 410) break
      await sleep(20)
    }
    const run = await ask('POST', `/v1/sandboxes/${id}/run`, { code: '1' })
    for (const { status, body } of [run, await ask('GET', `/v1/sandboxes/${id}`)]) {
      const { outcome } = body.details
      assert.deepEqual(
        [status, body.code, outcome.status, outcome.error.code],
        [410, 'SESSION_ENDED', 'limit', 'MEMORY'],
      )
      assert.match(body.message, /MEMORY ended it, at \d{4}-\d\d-\d\dT/)
      assert.match(body.hint, /^Its variables, files and processes are gone: .*"limits\.memory"/)
      assert.ok(outcome.timeline.some(({ event }: { event: string }) => event === 'terminated'))
    }
  })

  test('invalid requests are refused with the path of the fault', async () => {
    const cases = [
      [{ language: 'wasm' }, 422, 'LANGUAGE_UNSUPPORTED'],
      [{ language: 'cobol' }, 422, 'INVALID'],
      [{ code: 'x' }, 422, 'INVALID'],
      [{ timeout: 'soon' }, 422, 'INVALID'],
    ] as const
    for (const [body, status, code] of cases) {
      const refused = await ask('POST', '/v1/sandboxes', body)
      assert.deepEqual([refused.status, refused.body.code], [status, code], JSON.stringify(body))
    }
    const junk = [{ path: 'a.whl', content: 'not a zip file' }]
    const failed = await ask('POST', '/v1/sandboxes', { language: 'python', files: junk })
    assert.deepEqual([failed.status, failed.body.status], [200, 'error'], failed.text)
    const id = await opened()
    for (const body of [
      {},
      { code: '1', command: 'ls' },
      { command: [] },
      { code: 1 },
      { more: 1 },
    ]) {
      const refused = await ask('POST', `/v1/sandboxes/${id}/run`, body)
      assert.deepEqual([refused.status, refused.body.code], [422, 'INVALID'], JSON.stringify(body))
    }
    await ask('DELETE', `/v1/sandboxes/${id}`)
  })

  test('open sessions count as concurrent jobs of their tenant, execs in them do not', async () => {
    const [first, second] = [await opened({}, keyOf.small), await opened({}, keyOf.small)]
    const third = await ask('POST', '/v1/sandboxes', { language: 'python' }, keyOf.small)
    assert.deepEqual([third.status, third.body.code], [429, 'RATE_LIMITED'])
    const run = await ask('POST', `/v1/sandboxes/${first}/run`, { code: '20 + 1' }, keyOf.small)
    assert.equal(run.body.result, 21)
    await ask('DELETE', `/v1/sandboxes/${first}`, undefined, keyOf.small)
    const again = await opened({}, keyOf.small)
    for (const id of [second, again])
      await ask('DELETE', `/v1/sandboxes/${id}`, undefined, keyOf.small)
  })

  test('a session is opened, and a fork requested, by a request without a body', async () => {
    const { status, body } = await ask('POST', '/v1/sandboxes')
    assert.deepEqual([status, body.language], [201, 'python'])
    const id = body.id as string
    const fork = await ask('POST', `/v1/sandboxes/${id}/fork`)
    assert.equal(fork.body.code, 'FORK_UNSUPPORTED')
    assert.match(fork.body.hint, /^Open it with "tier": "microvm"/)
    const env = { MAYFLY_API_KEY: keyOf.run, MAYFLY_SERVER: server.active }
    const { stderr } = await mayfly(place, ['sandbox', 'fork', id], { env })
    assert.match(stderr, /\n {2}Open it with "mayfly sandbox create --tier microvm"/)
    await ask('DELETE', `/v1/sandboxes/${id}`)
  })

  test('sandbox exec names what its caller can change, as HTTP does for its own', async () => {
    const env = { MAYFLY_API_KEY: keyOf.run, MAYFLY_SERVER: server.active }
    const run = (...args: string[]) => mayfly(place, ['sandbox', ...args], { env })
    const id = (await run('create', '--language', 'js', '--memory', '32MB')).stdout.trim()
    const file = join(place.cwd, 'fetching.js')
    writeFileSync(file, 'fetch("http://a.b")')
    const { stderr } = await run('exec', id, file)
    assert.match(stderr, /run it with "mayfly sandbox create --language node", or grant/)
    const http = await ask('POST', `/v1/sandboxes/${id}/run`, { code: 'fetch("http://a.b")' })
    assert.match(http.body.error.message, /run it with "language": "node", or grant a network/)
    await ask('DELETE', `/v1/sandboxes/${id}`)
  })

  test('sandbox create exits with 7 where no wall can hold the session, and with 3 where its tier is below the floor', async () => {
    const env = { MAYFLY_API_KEY: keyOf.run, MAYFLY_SERVER: server.active }
    const create = (...args: string[]) => mayfly(place, ['sandbox', 'create', ...args], { env })
    const none = await create('--provider', 'no-such-wall')
    assert.deepEqual([none.code, none.stdout], [7, ''], none.stderr)
    assert.match(none.stderr, /no available provider is "no-such-wall"/)
    const weak = await create('--language', 'js', '--tier', 'isolate', '--floor', 'process')
    assert.deepEqual([weak.code, weak.stdout], [3, ''], weak.stderr)
    assert.match(weak.stderr, /on tier "isolate": the floor is "process"/)
  })

  test('the command line opens a session in an isolate', async () => {
    const env = { MAYFLY_API_KEY: keyOf.run, MAYFLY_SERVER: server.active }
    const sandbox = (args: readonly string[], stdin?: string) =>
      mayfly(place, ['sandbox', ...args], { env, ...(stdin !== undefined && { stdin }) })
    const id = (await sandbox(['create', '--language', 'js'])).stdout.trim()
    assert.equal((await sandbox(['exec', id, '-'], 'const x = 20')).code, 0)
    const shown = documentOf(await sandbox(['exec', id, '-', '--json'], 'await x + 1'))
    assert.equal(shown['result'], 21)
    const failed = await sandbox(['exec', id, '-'], 'x\nnull.f')
    assert.deepEqual([failed.code, /cell-3\.js:2:6/.test(failed.stderr)], [1, true], failed.stderr)
    const refused = await sandbox(['exec', id, '--', 'ls'])
    assert.match(refused.stderr, /runs cells alone/)
    assert.match((await sandbox(['kill', id])).stdout, /ended as ok/)
  })

  test('the command line opens a session, runs in it, moves files and ends it', async () => {
    const env = { MAYFLY_API_KEY: keyOf.run, MAYFLY_SERVER: server.active }
    const sandbox = (args: readonly string[], stdin?: string) =>
      mayfly(place, ['sandbox', ...args], { env, ...(stdin !== undefined && { stdin }) })
    const made = await sandbox(['create', '--language', 'python', '--label', 'by=hand'])
    assert.equal(made.code, 0, made.stderr)
    const id = made.stdout.trim()
    assert.equal((await sandbox(['exec', id, '-'], 'x = 20')).code, 0)
    const shown = documentOf(await sandbox(['exec', id, '-', '--json'], 'x + 1'))
    assert.equal(shown['result'], 21)
    const failed = await sandbox(['exec', id, '--', 'sh', '-c', 'echo out; exit 7'])
    assert.deepEqual([failed.code, failed.stdout], [7, 'out\n'])
    const codeOf = async (...words: readonly string[]) =>
      (await sandbox(['exec', id, '--', ...words])).code
    assert.equal(await codeOf('sh', '-c', 'kill -9 $$'), 137)
    assert.equal(await codeOf('no-such-program'), 127)
    assert.equal((await sandbox(['exec', id, '-'], 'raise SystemExit(6)')).code, 6)
    const late = await sandbox(['exec', id, '-', '--timeout', '300ms'], 'while True: pass')
    assert.equal(late.code, 4)
    writeFileSync(join(place.cwd, 'one.txt'), 'one')
    assert.equal((await sandbox(['put', id, 'one.txt', 'in/one.txt'])).code, 0)
    assert.match((await sandbox(['files', id])).stdout, /in\/one\.txt/)
    assert.equal((await sandbox(['get', id, 'in/one.txt'])).stdout, 'one')
    assert.equal((await sandbox(['get', id, 'in/one.txt', 'two.txt'])).code, 0)
    assert.equal(readFileSync(join(place.cwd, 'two.txt'), 'utf8'), 'one')
    assert.match((await sandbox(['list', '--label', 'by=hand'])).stdout, new RegExp(id))
    assert.equal((await sandbox(['renew', id, '--timeout', '9m'])).code, 0)
    assert.match((await sandbox(['kill', id])).stdout, /ended as ok/)
    const gone = await sandbox(['exec', id, '-'], '1')
    assert.equal(gone.code, 125)
    assert.match(gone.stderr, /it has ended, at /)
  })

  test('the command line says what a session lost, and why and when it ended, with one exit code', async () => {
    const env = { MAYFLY_API_KEY: keyOf.run, MAYFLY_SERVER: server.active }
    const sandbox = (args: readonly string[], stdin?: string) =>
      mayfly(place, ['sandbox', ...args], { env, ...(stdin !== undefined && { stdin }) })
    const id = (await sandbox(['create', '--memory', '64MB'])).stdout.trim()
    writeFileSync(join(place.cwd, 'late.txt'), 'late')
    const crashed = await sandbox(['exec', id, '-'], 'import os; os._exit(3)')
    assert.match(crashed.stderr, /^The interpreter was started anew: its variables .* lost$/m)
    const large = 'held = []\nwhile True: held.append(b"x" * 2**20)'
    const over = await sandbox(['exec', id, '-', '--timeout', '60s'], large)
    assert.equal(over.code, 5)
    assert.match(over.stderr, /^MEMORY [^]*^The session has ended\. Its variables, files/m)
    for (const verb of ['exec', 'put']) {
      const late = await sandbox([verb, id, verb === 'exec' ? '-' : 'late.txt'], '1')
      assert.deepEqual([late.code, /MEMORY ended it, at /.test(late.stderr)], [125, true], verb)
    }
  })

  test('a server that stops ends its sessions; one that is killed leaves nothing, and answers 410 afterwards', async (t) => {
    const own = makePlace()
    try {
      const file = join(own.cwd, 'many.toml')
      // A tenant may use three quarters of the slots.
      writeFileSync(file, `[server]\njobs = ${many * 2}\n[limits]\nmemory = "64MB"\n`)
      const start = async () => {
        const started = await startServer(own, ['--config', file])
        await whenReady(started)
        return started
      }
      const one = await start()
      const key = one.apiKey
      const open = async (at: string) => {
        const { status, body } = await ask('POST', '/v1/sandboxes', { language: 'python' }, key, at)
        assert.equal(status, 201, JSON.stringify(body))
        return body.id as string
      }
      const orderly = await open(one.active)
      const { left } = await one.stop()
      assert.deepEqual(left, [])
      await using two = await start()
      const ended = await ask('GET', `/v1/sandboxes/${orderly}`, undefined, key, two.active)
      assert.deepEqual([ended.status, ended.body.details.outcome.status], [410, 'ok'])
      const ids = await Promise.all(Array.from({ length: many }, () => open(two.active)))
      const walls = leasesIn(own).map((name) => name.replace(/\.json$/, ''))
      assert.ok(walls.length >= many, `${walls.length} leases`)
      const traces = walls.map((wall) => tracesByKind([wall], own))
      for (const kind of ['processes', ...(openCgroups() ? ['groups' as const] : [])] as const) {
        const having = traces.filter((one) => one[kind].length > 0).length
        assert.ok(having >= many, `${having} walls have ${kind}`)
      }
      process.kill(two.pid, 'SIGKILL')
      const began = performance.now()
      for (let tries = 0; tries < 500 && tracesOf(walls, own).length > 0; tries++) await sleep(20)
      const took = Math.round(performance.now() - began)
      t.diagnostic(`${many} sessions are gone ${took} ms after the kill`)
      assert.deepEqual(tracesOf(walls, own), [])
      const { left: afterKill } = await two.stop()
      assert.deepEqual([afterKill, leasesIn(own)], [[], []])
      const three = await start()
      for (const id of ids) {
        const { status, body } = await ask(
          'GET',
          `/v1/sandboxes/${id}`,
          undefined,
          key,
          three.active,
        )
        assert.deepEqual(
          [status, body.code, body.details.outcome.status],
          [410, 'SESSION_ENDED', 'failed'],
        )
      }
      await three.stop()
      using log = openLog(join(own.state, 'audit.db'))
      for (const id of ids) {
        const lines = log.last(10, id).map(({ kind, status }) => [kind, status])
        assert.deepEqual(lines, [
          ['admitted', null],
          ['closed', 'failed'],
        ])
      }
    } finally {
      own.remove()
    }
  })
})

/** Body that a route would take; a new route refuses before it reads one. */
function bodyOf(method: string, path: string): object | Uint8Array | undefined {
  if (method === 'GET' || method === 'DELETE') return undefined
  if (method === 'PUT') return new Uint8Array([1])
  if (path.endsWith('/run')) return { code: '1' }
  if (path.endsWith('/tighten')) return { controls: { memory: '32MB' } }
  return { timeout: '1m' }
}

/** Number of sessions that are open when their server is killed. */
const many = process.env['MAYFLY_LONG'] === undefined ? 5 : 50

/** Leftovers of walls on this machine: processes, cgroups, folders of the state and of walls, and bound sockets. */
function tracesByKind(walls: readonly string[], { state }: Place) {
  const names = new Set(walls)
  const isNamed = (text: string) => walls.some((wall) => text.includes(wall))
  const processes = readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => isNamed(textOf(`/proc/${pid}/cmdline`)))
  const groups = foldersIn('/sys/fs/cgroup', 4).filter((folder) => names.has(basename(folder)))
  const ofState = foldersIn(state, 3).filter((folder) => names.has(basename(folder)))
  const folders = [...ofState, ...walls.map(wallFolder).filter((folder) => existsSync(folder))]
  const sockets = textOf('/proc/net/unix').split('\n').filter(isNamed)
  return { processes, groups, others: [...folders, ...sockets] }
}

function tracesOf(walls: readonly string[], place: Place): readonly string[] {
  return Object.values(tracesByKind(walls, place)).flat()
}

function foldersIn(folder: string, depth: number): readonly string[] {
  try {
    const own = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(folder, name))
    return depth === 1 ? own : [...own, ...own.flatMap((below) => foldersIn(below, depth - 1))]
  } catch {
    return []
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
