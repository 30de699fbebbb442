import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { patienceMs } from '../conformance/stand.ts'
import { bearer, call, openDoor, post, type Answer } from './http-door.ts'
import {
  documentOf,
  makeKey,
  makePlace,
  mayfly,
  startServer,
  whenReady,
  type Server,
} from './program.ts'

/** Changes of the configuration of a running server. */
suite('Changing the configuration over HTTP', () => {
  const place = makePlace()
  let server: Server
  let widener = ''
  let reader = ''
  before(async () => {
    server = await startServer(place)
    await whenReady(server)
    widener = makeKey(place, 'default', ['admin', 'config:widen'])
    reader = makeKey(place, 'default', ['run', 'read'])
  })
  after(async () => {
    assert.deepEqual(await server.stop(), { code: 0, left: [] })
    place.remove()
  })

  const send = (method: string, path: string, body: unknown, key: string): Promise<Answer> =>
    call(new URL(path, server.active).href, {
      method,
      headers: { 'content-type': 'application/json', ...bearer(key) },
      body: JSON.stringify(body),
    })
  const patch = (body: unknown, key = server.apiKey) => send('PATCH', '/v1/config', body, key)
  const prefer = (name: unknown, key = server.apiKey) =>
    send('PUT', '/v1/providers/default', { name }, key)
  const run = (code: string, headers: Record<string, string> = {}) =>
    post(new URL('/v1/executions', server.active).href, { code }, { ...bearer(reader), ...headers })
  const outcomeOf = async (id: string): Promise<Answer> =>
    call(new URL(`/v1/executions/${id}`, server.active).href, { headers: bearer(reader) })
  const timeoutOf = async () => {
    const { json } = await run('return 1')
    const explain = json['profile'].explain as readonly { field: string; value: unknown }[]
    return explain.find(({ field }) => field === 'limits.timeout')?.value
  }

  test('S4-16: an admin may narrow a limit, and a wider one needs the scope config:widen', async () => {
    const narrowed = await patch({ limits: { timeout: '2s' } })
    assert.equal(narrowed.status, 200, narrowed.text)
    assert.equal(narrowed.json['limits'].timeout, 2000)
    assert.equal(await timeoutOf(), 2000)

    const refused = await patch({ limits: { timeout: '9s', memory: '1GB' } })
    assert.equal(refused.status, 403)
    assert.deepEqual(refused.json['details'], { widens: ['limits.memory', 'limits.timeout'] })
    assert.equal(await timeoutOf(), 2000)

    const { status, json } = await patch({ limits: { timeout: '1s' } }, reader)
    assert.deepEqual([status, json['details']], [403, { scopes: ['admin', 'config:widen'] }])
    assert.match(json['message'], /it lacks the scope "admin" or "config:widen"$/)

    assert.equal((await patch({ limits: { timeout: '9s' } }, widener)).status, 200)
    assert.equal(await timeoutOf(), 9000)
  })

  test('S4-16: every change is in the record with its principal and the changed keys, and no value', async () => {
    const lines = documentOf(
      await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
    ) as unknown as {
      readonly body: Record<string, any>
    }[]
    const changes = lines.filter(({ body }) => body['point'] === 'config/overridden')
    assert.equal(changes.length, 2)
    for (const { body } of changes) {
      assert.deepEqual(body['fields'].keys, ['limits'])
      assert.match(body['fields'].principal, /^key:/)
    }
    assert.equal(new Set(changes.map(({ body }) => body['fields'].principal)).size, 2)
    // Without the hashes around them, which may contain any digits.
    const bodies = JSON.stringify(changes.map(({ body }) => body))
    assert.doesNotMatch(bodies, /mfy_|\b(?:9000|2000|9s|2s)\b/)
  })

  test('A key without the scope is refused and changes nothing', async () => {
    assert.equal((await patch({ limits: { timeout: '1s' } }, reader)).status, 403)
    assert.equal((await prefer('mock', reader)).status, 403)
    assert.equal((await prefer('mock', 'mfy_nobody')).status, 401)
  })

  test('An invalid change is refused with its path', async () => {
    const places: readonly (readonly [body: unknown, path: string])[] = [
      [{ limits: { timeout: 'soon' } }, 'limits.timeout'],
      [{ state: '/tmp' }, 'state'],
      [{ sessions: { concurrency: 0 } }, 'sessions.concurrency'],
      [{ default_provider: 'no-such' }, 'default_provider'],
    ]
    for (const [body, path] of places) {
      const answer = await patch(body, widener)
      assert.equal(answer.status, 422, answer.text)
      assert.equal(answer.json['details'][0].path, path)
    }
  })

  test('Settings that need a restart are named, with a hint to restart', async () => {
    const { status, json } = await patch({ state: '/tmp', server: {}, nothing: 1 }, widener)
    assert.equal(status, 422)
    assert.match(
      json['message'],
      /"(state|server)", "(state|server)" while the server runs: .*restart/,
    )
    assert.deepEqual(
      json['details'].map(({ path }: { path: string }) => path),
      ['state', 'server'],
    )
  })

  test('Changed limits of page visitors apply to visitors who already have a token', async () => {
    const token = async () => {
      const page = await call(server.static)
      return /<meta name="mayfly-session" content="([^"]*)">/.exec(page.text)?.[1] ?? ''
    }
    const visit = async (sessionToken: string) =>
      (await post(`${server.static}/active-content`, { content: 'return 1', sessionToken })).status
    const first = await token()
    assert.equal(await visit(first), 200)
    const narrowed = await patch({ sessions: { per_minute: 2 } })
    assert.deepEqual([narrowed.status, narrowed.json['sessions'].per_minute], [200, 2])
    const second = await token()
    const statuses = [await visit(second), await visit(second), await visit(second)]
    assert.deepEqual(statuses, [200, 200, 429])
    assert.equal((await patch({ sessions: { per_minute: 60 } })).status, 403)

    const closed = await patch({ sessions: { anonymous: false } })
    assert.equal(closed.status, 200, closed.text)
    assert.deepEqual([await token(), await visit(first)], ['', 401])
    const refused = await patch({ sessions: { anonymous: true } })
    assert.deepEqual(refused.json['details'], { widens: ['sessions.anonymous'] })
    const wide = { sessions: { anonymous: true, per_minute: 60 } }
    assert.equal((await patch(wide, widener)).status, 200)
    assert.match(await token(), /^mfs_/)
    assert.equal(await visit(first), 200)
  })

  test('S4-4: the next job uses the new provider, and a running job ends on the old one', async () => {
    const slow = await run('await new Promise((end) => setTimeout(end, 3_600_000))', {
      prefer: 'respond-async',
    })
    assert.equal(slow.status, 202, slow.text)
    const { id } = slow.json as { id: string }
    let begun = await outcomeOf(id)
    const beginsBy = performance.now() + patienceMs
    while (begun.json['status'] === 'queued' && performance.now() < beginsBy) {
      await sleep(10)
      begun = await outcomeOf(id)
    }
    const refused = await prefer('mock')
    assert.equal(refused.status, 403, refused.text)
    assert.deepEqual(refused.json['details'], { widens: ['default_provider'] })
    assert.equal((await run('return 1')).json['provider'], 'isolated-vm')
    assert.equal((await prefer('mock', widener)).json['default_provider'], 'mock')
    assert.equal((await outcomeOf(id)).json['status'], 'running')

    assert.equal((await run('return 1')).json['provider'], 'mock')
    const asked = { method: 'DELETE', headers: bearer(reader) }
    await call(new URL(`/v1/executions/${id}`, server.active).href, asked)
    let ended = await outcomeOf(id)
    const endsBy = performance.now() + patienceMs
    while (ended.json['status'] === 'running' && performance.now() < endsBy) {
      await sleep(20)
      ended = await outcomeOf(id)
    }
    assert.equal(ended.json['status'], 'cancelled', ended.text)
    assert.equal(ended.json['provider'], 'isolated-vm')

    assert.equal((await prefer('auto')).status, 200)
    assert.equal((await run('return 1')).json['provider'], 'isolated-vm')
  })

  test('S4-4: an unavailable provider is refused, and the current provider stays', async () => {
    assert.equal((await prefer('mock', widener)).status, 200)
    const answer = await prefer('no-such', widener)
    assert.equal(answer.status, 422)
    assert.match(answer.json['message'], /"no-such"/)
    assert.equal((await prefer(7)).json['details'][0].path, 'name')
    assert.equal((await run('return 1')).json['provider'], 'mock')
    assert.equal((await prefer('auto')).status, 200)
    assert.equal((await run('return 1')).json['provider'], 'isolated-vm')
  })

  test('S4-4: a switch of providers runs no job below its floor', async () => {
    assert.equal((await prefer('mock', widener)).status, 200)
    assert.equal((await run('return 1')).json['provider'], 'mock')
    const body = { code: 'return 1', floor: 'isolate' }
    const url = new URL('/v1/executions', server.active).href
    const { json } = await post(url, body, bearer(reader))
    assert.deepEqual([json['status'], json['provider']], ['ok', 'isolated-vm'])
    assert.equal((await prefer('auto')).status, 200)
  })
})

test('A server without a changeable configuration refuses changes with that reason', async () => {
  await using door = await openDoor()
  const answer = await call(`${door.gateway.activeUrl}/v1/config`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json', ...bearer(door.key) },
    body: '{}',
  })
  assert.equal(answer.status, 503)
})
