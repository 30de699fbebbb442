import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import type { Job } from '../../src/contract/job.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { openKeys, type Keys } from '../../src/gateway/http/keys.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { OpenSessions } from '../../src/sessions/open-sessions.ts'
import {
  adminKey,
  bearer,
  call,
  endOf,
  folder,
  openDoor,
  post,
  raw,
  type TestDoor,
} from './http-door.ts'

const otherKey = 'mfy_other_0123456789abcdefghijklmnop'

const job = (labels: Record<string, string> = {}) => ({ code: '1', labels })
const run = (door: TestDoor, body: unknown = job(), headers: Record<string, string> = {}) =>
  post(`${door.gateway.activeUrl}/v1/executions`, body, { ...bearer(adminKey), ...headers })
const get = (door: TestDoor, path: string, key = adminKey, method = 'GET') =>
  call(`${door.gateway.activeUrl}/v1/executions${path}`, { method, headers: bearer(key) })

const whispering: RunJob = async (taken) => endOf(taken, { stdout: 'a very secret word' })

/** A pipeline stub whose jobs wait until they are released or cancelled. */
function waiting() {
  const go = Promise.withResolvers<void>()
  const road: RunJob = async (taken, { signal, on }) => {
    on?.({ at: 0, zone: 'main', event: 'phase', phase: 'full' })
    const aborted = new Promise<'cancelled'>((resolve) =>
      signal.addEventListener('abort', () => resolve('cancelled')),
    )
    const status = await Promise.race([go.promise.then(() => 'ok' as const), aborted])
    return endOf(taken, { status })
  }
  return { road, go: go.resolve }
}

async function until<T>(ask: () => Promise<T>, isDone: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await ask()
    if (isDone(value)) return value
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('An outcome is returned by its id, also after a restart', async () => {
  await using state = await folder()
  let id: string
  let text: string
  {
    await using door = await openDoor({}, state.path)
    const answer = await run(door)
    id = String(answer.json['id'])
    text = answer.text
    assert.equal((await get(door, `/${id}`)).text, text)
  }
  await using door = await openDoor({}, state.path)
  const again = await get(door, `/${id}`)
  assert.deepEqual([again.status, again.text], [200, text])
})

test('Outcomes are stored encrypted', async () => {
  await using state = await folder()
  {
    await using door = await openDoor({ road: whispering }, state.path)
    await run(door)
  }
  const { readFile, readdir } = await import('node:fs/promises')
  for (const name of await readdir(state.path)) {
    const bytes = await readFile(`${state.path}/${name}`)
    assert.ok(!bytes.includes('secret word'), name)
  }
})

test('The history is listed newest first, in pages, with its labels', async () => {
  await using door = await openDoor()
  const ids: string[] = []
  for (let n = 0; n < 5; n++) {
    ids.unshift(String((await run(door, job({ parity: n % 2 ? 'odd' : 'even' }))).json['id']))
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const first = await get(door, '?limit=3')
  assert.deepEqual(
    first.json['items'].map((row: { id: string }) => row.id),
    ids.slice(0, 3),
  )
  const second = await get(door, `?limit=3&cursor=${first.json['next']}`)
  assert.deepEqual(
    second.json['items'].map((row: { id: string }) => row.id),
    ids.slice(3),
  )
  assert.equal(second.json['next'], null)
  const odd = await get(door, '?label=parity:odd')
  assert.equal(odd.json['items'].length, 2)
  assert.equal(odd.json['items'][0].labels.parity, 'odd')
})

test('An invalid query is refused with the name of its parameter', async () => {
  await using door = await openDoor()
  for (const query of [
    '?limit=0',
    '?limit=101',
    '?limit=x',
    '?cursor=..',
    '?label=x',
    '?label=a:1&label=a:2',
    '?nope=1',
  ]) {
    assert.equal((await get(door, query)).status, 422, query)
  }
})

test('An unfinished job is queued or running, and is listed', async () => {
  const { road, go } = waiting()
  await using door = await openDoor({ road })
  const taken = await run(door, job(), { prefer: 'respond-async' })
  assert.equal(taken.status, 202)
  assert.equal(taken.headers.get('location'), `/v1/executions/${taken.json['id']}`)
  const id = String(taken.json['id'])
  assert.deepEqual((await get(door, `/${id}`)).json, { id, status: 'running' })
  const listed = await get(door, '')
  assert.deepEqual(
    listed.json['items'].map((row: { id: string; status: string }) => [row.id, row.status]),
    [[id, 'running']],
  )
  go()
  const ended = await until(
    () => get(door, `/${id}`),
    ({ json }) => json['status'] === 'ok',
  )
  assert.equal(ended.json['id'], id)
})

test('DELETE cancels a running job, and returns the outcome of an ended one', async () => {
  const { road } = waiting()
  await using door = await openDoor({ road })
  const id = String((await run(door, job(), { prefer: 'respond-async' })).json['id'])
  assert.equal((await get(door, `/${id}`, adminKey, 'DELETE')).status, 202)
  const ended = await until(
    () => get(door, `/${id}`, adminKey, 'DELETE'),
    ({ status }) => status === 200,
  )
  assert.equal(ended.json['status'], 'cancelled')
})

test('A job interrupted by the death of its server is listed as failed after the restart', async () => {
  await using state = await folder()
  let id: string
  {
    const { road } = waiting()
    const door = await openDoor({ road }, state.path)
    id = String((await run(door, job(), { prefer: 'respond-async' })).json['id'])
    // Closes the gateway without cancelling the job, as a crash does.
    await door[Symbol.asyncDispose]()
  }
  await using door = await openDoor({}, state.path)
  const { json } = await get(door, `/${id}`)
  assert.deepEqual([json['status'], json['error'].code], ['failed', 'INTERRUPTED'])
})

test('An artifact is returned by its path, byte for byte, also after a restart, whether the outcome carries its bytes or not', async () => {
  await using state = await folder()
  const bytes = Buffer.from([0, 255, 10, 13])
  const leaving: RunJob = async (taken, { files }) => {
    const { path, ...one } = { path: 'made/a b.bin', size: bytes.length, sha256: sha256(bytes) }
    const isInline = taken.asked.artifacts === 'inline'
    if (!isInline) files?.([{ path, bytes }])
    const content = isInline && { content: bytes.toString('base64') }
    return endOf(taken, { artifacts: [{ path, ...one, ...content }] })
  }
  const ids: string[] = []
  {
    await using door = await openDoor({ road: leaving }, state.path)
    for (const artifacts of ['reference', 'inline']) {
      const { json } = await run(door, { code: '1', artifacts })
      const [first] = json['artifacts'] as { readonly content?: string }[]
      assert.equal(door.jobs.at(-1)?.asked.artifacts, artifacts)
      assert.equal(first?.content, artifacts === 'inline' ? bytes.toString('base64') : undefined)
      assert.equal((await get(door, `/${json['id']}`)).json['artifacts'].length, 1)
      const file = `${door.gateway.activeUrl}/v1/executions/${json['id']}/artifacts/made/a%20b.bin`
      const answer = await fetch(file, { headers: bearer(adminKey) })
      assert.deepEqual(Buffer.from(await answer.arrayBuffer()), bytes)
      ids.push(String(json['id']))
    }
  }
  await using door = await openDoor({}, state.path)
  for (const id of ids) {
    const file = `${door.gateway.activeUrl}/v1/executions/${id}/artifacts/made/a%20b.bin`
    const answer = await fetch(file, { headers: bearer(adminKey) })
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), bytes)
    assert.equal(answer.headers.get('content-type'), 'application/octet-stream')
    assert.equal(
      answer.headers.get('content-disposition'),
      "attachment; filename*=UTF-8''a%20b.bin",
    )
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
    assert.equal((await fetch(file)).status, 401)
    assert.equal((await get(door, `/${id}/artifacts/made/none.bin`)).status, 404)
    assert.equal((await get(door, `/${id}/artifacts/made/a%20b.bin`, adminKey, 'PUT')).status, 405)
  }
  assert.equal((await get(door, `/exec_${'0'.repeat(32)}/artifacts/a`)).status, 404)
})

test('An artifact may be a dotfile, and no path with dot segments is one', async () => {
  const leaving: RunJob = async (taken, { files }) => {
    const made = { size: 1, sha256: sha256('x') }
    files?.([{ path: '.env', bytes: Buffer.from('x') }])
    return endOf(taken, { artifacts: [{ path: '.env', ...made }] })
  }
  await using door = await openDoor({ road: leaving })
  const { id } = (await run(door)).json
  const asked = async (path: string) => {
    const head = [
      `GET /v1/executions/${id}/artifacts/${path} HTTP/1.1`,
      `host: 127.0.0.1:${door.activePort}`,
      `authorization: ${bearer(adminKey).authorization}`,
      'connection: close',
    ]
    const text = await raw(door.activePort, `${head.join('\r\n')}\r\n\r\n`)
    return Number(text.split(' ')[1])
  }
  assert.equal(await asked('.env'), 200)
  for (const path of ['../.env', '%2e%2e/.env', './.env', '..%2f.env', '.env/', '/.env', '.env%00'])
    assert.equal(await asked(path), 404, path)
})

test('An id of another tenant gets exactly the response of an unknown id', async () => {
  const { keys } = await openKeys({
    first: adminKey,
    tenants: [{ name: 'other', keys: [`sha256:${sha256(otherKey)}`] }],
  })
  const { road, go } = waiting()
  await using door = await openDoor({ road, keys })
  const live = String((await run(door, job(), { prefer: 'respond-async' })).json['id'])
  const unknown = `exec_${'0'.repeat(32)}`
  for (const method of ['GET', 'DELETE']) {
    const [foreign, never] = await Promise.all(
      [live, unknown].map((id) => get(door, `/${id}`, otherKey, method)),
    )
    assert.equal(foreign!.status, 404)
    assert.equal(foreign!.text, never!.text)
  }
  go()
  await until(
    () => get(door, `/${live}`),
    ({ json }) => json['status'] === 'ok',
  )
  const [foreign, never] = await Promise.all(
    [live, unknown].map((id) => get(door, `/${id}`, otherKey)),
  )
  assert.deepEqual([foreign!.status, foreign!.text], [404, never!.text])
  assert.deepEqual((await get(door, '', otherKey)).json['items'], [])
})

test('Jobs of a page visitor are not kept in the history', async () => {
  const { tokenOf } = await import('./http-door.ts')
  await using door = await openDoor({ sessions: { tenant: 'default' } })
  const body = { content: '1', sessionToken: await tokenOf(door) }
  const answer = await post(`${door.gateway.activeUrl}/active-content`, body)
  assert.equal(answer.status, 200)
  assert.equal((await get(door, `/${answer.json['id']}`)).status, 404)
})

test('A session that is being opened is no execution, and its owner is told to wait, not that it has ended', async () => {
  const keys: Keys = {
    find: (key) => ({ id: key, tenant: 'acme', principal: key, scopes: ['run', 'read'] }),
  }
  const go = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<string>()
  const bounds = () => ({ timeout: 60_000, idle: 60_000, lifetime: 60_000 }) as never
  const held = new OpenSessions({ clock: systemClock, bounds })
  const open = async (taken: Job) => {
    begun.resolve(taken.id)
    await go.promise
    return { kind: 'ended', outcome: endOf(taken) } as const
  }
  await using door = await openDoor({ keys, served: { open, held } })
  const url = `${door.gateway.activeUrl}/v1/sandboxes`
  const opening = post(url, { language: 'python' }, bearer('owner'))
  const id = await Promise.race([begun.promise, opening.then(({ text }) => assert.fail(text))])
  for (const method of ['GET', 'DELETE']) {
    const own = await call(`${url}/${id}`, { method, headers: bearer('owner') })
    assert.deepEqual([own.status, own.json['code']], [409, 'CONFLICT'], `${method}: ${own.text}`)
    assert.equal(own.headers.get('retry-after'), '1')
  }
  for (const who of ['owner', 'other']) {
    assert.deepEqual((await get(door, '', who)).json['items'], [])
    assert.equal((await get(door, `/${id}`, who)).status, 404)
  }
  const foreign = await call(`${url}/${id}/files`, { headers: bearer('other') })
  assert.equal(foreign.status, 404)
  go.resolve()
  assert.equal((await opening).status, 200)
  assert.equal((await get(door, `/${id}`, 'other')).status, 200)
  const ended = await call(`${url}/${id}`, { headers: bearer('owner') })
  assert.equal(ended.status, 410)
})
