import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { unable } from '../walls/process-stands.ts'
import { makeKey, makePlace, startServer, whenReady, type Place, type Server } from './program.ts'

const path = '/active-content/sessions'
const minuteMs = 60_000
const config = '[limits]\ntimeout = "60s"\n'

suite('Sessions of page visitors', { skip: unable('python') }, () => {
  let place: Place
  let server: Server
  let keyOf: Readonly<Record<'page' | 'other', string>>
  before(async () => {
    place = makePlace()
    const file = join(place.cwd, 'page.toml')
    writeFileSync(file, config)
    server = await startServer(place, ['--config', file])
    await whenReady(server)
    const made = (tenant: string) => makeKey(place, tenant)
    keyOf = { page: made('page'), other: made('default') }
  })
  after(async () => {
    await server.stop()
    place.remove()
  })

  /** Loads the page and returns its token. */
  async function visit(): Promise<string> {
    const html = await (await fetch(server.static)).text()
    return /mfs_[\w.-]+/.exec(html)![0]
  }

  async function ask(token: string, method: string, at = '', body?: unknown, more: object = {}) {
    const { base = server.static, ...headers } = more as { base?: string }
    const response = await fetch(new URL(at.startsWith('/v1') ? at : `${path}${at}`, base), {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.includes('json')
    const { status, headers: answered } = response
    return { status, headers: answered, text, body: isJson ? JSON.parse(text) : undefined }
  }

  async function opened(token: string, language = 'python'): Promise<string> {
    const { status, body } = await ask(token, 'POST', '', { language })
    assert.equal(status, 201, JSON.stringify(body))
    return body.id as string
  }

  const run = (token: string, id: string, code: string) =>
    ask(token, 'POST', `/${id}/run`, { code })

  test('a token opens a session that keeps state, and that is not listed as an execution', async () => {
    const token = await visit()
    const id = await opened(token)
    assert.equal((await run(token, id, 'x = 41')).body.status, 'ok')
    const { body } = await run(token, id, 'x + 1')
    assert.deepEqual([body.result, body.session.state], [42, 'kept'])
    const row = (await ask(token, 'GET', `/${id}`)).body
    assert.deepEqual([row.language, row.execs, row.busy], ['python', 2, false])
    assert.ok(row.leftMs <= 5 * minuteMs && row.lastMs <= 15 * minuteMs, JSON.stringify(row))
    const renewed = (await ask(token, 'POST', `/${id}/timeout`)).body
    assert.ok(renewed.leftMs <= 5 * minuteMs && renewed.lastMs <= row.lastMs)
    await run(token, id, 'print("kept", file=open("a.txt", "w"), flush=True)')
    const { entries } = (await ask(token, 'GET', `/${id}/files`)).body
    assert.ok(entries.some((one: { path: string }) => one.path === 'a.txt'))
    const file = await ask(token, 'GET', `/${id}/files?path=a.txt`)
    assert.deepEqual([file.text, file.headers.get('cache-control')], ['kept\n', 'no-store'])
    assert.equal((await ask(token, 'GET', `/${id}/files?path=../a`)).status, 422)
    assert.equal((await ask(token, 'DELETE', `/${id}`)).body.status, 'ok')
    const gone = await run(token, id, 'x')
    assert.deepEqual(
      [gone.status, gone.body.code, gone.body.details.outcome.status],
      [410, 'SESSION_ENDED', 'ok'],
    )
    const listed = await ask(keyOf.page, 'GET', '/v1/executions', undefined, {
      base: server.active,
    })
    assert.equal(listed.status, 200)
    assert.deepEqual(listed.body.items, [])
  })

  test('a session belongs to its token: any other token gets 404 and any key 401, before and after its end', async () => {
    const [own, other] = [await visit(), await visit()]
    const id = await opened(own)
    // A file that is not there is 404 for everybody.
    assert.equal((await run(own, id, "open('a', 'w').close()")).body.status, 'ok')
    const routes = [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/run', { code: '1' }],
      ['POST', '/interrupt'],
      ['POST', '/timeout'],
      ['GET', '/files'],
      ['GET', '/files?path=a'],
    ] as const
    const refused = async () => {
      for (const [method, at, body] of routes) {
        assert.equal((await ask(other, method, `/${id}${at}`, body)).status, 404, `${method} ${at}`)
        for (const key of [keyOf.page, keyOf.other, server.apiKey, `${own.slice(0, -1)}-`])
          assert.equal((await ask(key, method, `/${id}${at}`, body)).status, 401, `${method} ${at}`)
      }
    }
    await refused()
    assert.equal((await run(own, id, '1')).body.result, 1, 'none of these requests ended it')
    assert.equal((await ask(own, 'DELETE', `/${id}`)).status, 200)
    await refused()
  })

  test('each sandbox route is 401 for a token, and a key of its tenant finds no session of a page', async () => {
    const token = await visit()
    const id = await opened(token)
    const routes = [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/run', { code: '1' }],
      ['GET', '/files'],
      ['PUT', '/files?path=a', {}],
      ['POST', '/timeout', { timeout: '1m' }],
      ['POST', '/tighten', { controls: { memory: '32MB' } }],
      ['POST', '/freeze'],
      ['POST', '/thaw'],
      ['POST', '/capture'],
    ] as const
    const base = { base: server.active }
    for (const [method, at, body] of routes) {
      const where = `/v1/sandboxes/${id}${at}`
      assert.equal((await ask(token, method, where, body, base)).status, 401, `${method} ${at}`)
      for (const key of [keyOf.page, keyOf.other])
        assert.equal((await ask(key, method, where, body, base)).status, 404, `${method} ${at}`)
    }
    assert.equal((await ask(token, 'GET', '/v1/sandboxes', undefined, base)).status, 401)
    assert.equal((await ask(token, 'POST', '/v1/sandboxes', {}, base)).status, 401)
    assert.equal((await ask(token, 'DELETE', `/${id}`)).status, 200)
  })

  test('an administrator sees, tightens, freezes and ends a session of a page, and neither runs code in it nor reads its files', async () => {
    const token = await visit()
    const id = await opened(token)
    assert.equal((await run(token, id, "open('a', 'w').close()")).body.status, 'ok')
    const order = (method: string, at = '', body?: unknown) =>
      ask(server.apiKey, method, `/v1/sandboxes/${id}${at}`, body, { base: server.active })
    for (const [method, at, body] of [
      ['POST', '/run', { code: '1' }],
      ['GET', '/files'],
      ['GET', '/files?path=a'],
      ['PUT', '/files?path=a', {}],
      ['POST', '/timeout', { timeout: '1m' }],
    ] as const)
      assert.equal((await order(method, at, body)).status, 404, `${method} ${at}`)
    const { status, body } = await order('GET')
    assert.deepEqual([status, body.id, body.tenant], [200, id, 'page'])
    assert.equal((await order('POST', '/freeze')).status, 200)
    assert.equal((await order('POST', '/thaw')).status, 200)
    const tightened = await order('POST', '/tighten', { controls: { memory: '96MB' } })
    assert.deepEqual([tightened.status, tightened.body.held], [200, true])
    assert.equal((await run(token, id, '6 * 7')).body.result, 42)
    assert.equal((await order('DELETE')).status, 200)
    assert.equal((await run(token, id, '1')).status, 410)
  })

  test('a visitor may have two sessions at once, set only language and preset, and only from its own page', async () => {
    const token = await visit()
    const [first] = [await opened(token), await opened(token)]
    const third = await ask(token, 'POST', '', { language: 'python' })
    assert.deepEqual([third.status, third.body.code], [429, 'RATE_LIMITED'])
    await ask(token, 'DELETE', `/${first}`)
    for (const more of [
      { language: 'bash' },
      { network: 'open' },
      { timeout: '1h' },
      { limits: { timeout: '1h' } },
      { env: { A: 'b' } },
      { schedule: 'default' },
    ])
      assert.equal((await ask(token, 'POST', '', { language: 'python', ...more })).status, 422)
    const again = await ask(token, 'POST', '', {
      language: 'python',
      schedule: 'shrinking-session',
    })
    assert.equal(again.status, 201)
    assert.deepEqual(
      again.body.plan.phases.map((phase: { name: string }) => phase.name),
      ['full', 'no-network', 'half-a-core'],
    )
    const ran = await ask(token, 'POST', `/${again.body.id}/run`, { code: 'sum([6, 36])' })
    assert.deepEqual([ran.status, ran.body.result], [200, 42])
    for (const more of [{ command: 'ls' }, { limits: { timeout: '1h' } }, { env: {} }])
      assert.equal(
        (await ask(token, 'POST', `/${again.body.id}/run`, { code: '1', ...more })).status,
        422,
      )
    const foreign = { origin: 'http://evil.example' }
    assert.equal((await ask(token, 'POST', '', { language: 'python' }, foreign)).status, 401)
  })

  test('HEAD of a session is answered at once, also of its stream', async () => {
    const token = await visit()
    const id = await opened(token)
    const { status, headers } = await fetch(new URL(`${path}/${id}`, server.static), {
      method: 'HEAD',
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
      signal: AbortSignal.timeout(20_000),
    })
    assert.deepEqual([status, headers.get('content-type')], [200, 'application/json'])
    await ask(token, 'DELETE', `/${id}`)
  })

  test('the timeline is streamed as events, and an interrupted exec keeps the state', async () => {
    const token = await visit()
    const id = await opened(token)
    const life = fetch(new URL(`${path}/${id}`, server.static), {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
    }).then((response) => response.text())
    await run(token, id, 'x = 7')
    const endless = await fetch(new URL(`${path}/${id}/run`, server.static), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'text/event-stream',
        'content-type': 'application/json',
      },
      body: JSON.stringify({ code: 'print("there", flush=True)\nwhile True: pass' }),
    })
    const reader = endless.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('there')) text += (await reader.read()).value ?? ''
    assert.equal((await run(token, id, '1')).status, 409)
    assert.equal((await ask(token, 'POST', `/${id}/interrupt`)).body.interrupted, true)
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
    const [, json = ''] = /^event: outcome\ndata: (.*)$/m.exec(text) ?? []
    const { status, session } = JSON.parse(json) as Record<string, any>
    assert.deepEqual([status, session.state, session.ended], ['cancelled', 'kept', false])
    assert.equal((await run(token, id, 'x')).body.result, 7)
    assert.equal((await ask(token, 'POST', `/${id}/interrupt`)).body.interrupted, false)
    await ask(token, 'DELETE', `/${id}`)
    const names = [...(await life).matchAll(/^event: (\w+)$/gm)].map(([, name]) => name)
    assert.deepEqual([names[0], names.at(-1)], ['event', 'outcome'])
  })
})
