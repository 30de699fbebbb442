import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { bearer, call, post } from './http-door.ts'
import {
  documentOf,
  makePlace,
  mayfly,
  type Place,
  type Server,
  startServer,
  whenReady,
} from './program.ts'

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

async function access(...args: readonly string[]) {
  return documentOf(await mayfly(place, ['access', ...args, '--json']))
}

const execute = (key: string) =>
  post(new URL('/v1/executions', server.active).href, { code: 'return 1' }, bearer(key))
const providers = (key: string) =>
  call(new URL('/v1/providers', server.active).href, { headers: bearer(key) })

test('A running server accepts a key from its creation until it is revoked', async () => {
  const { key, id } = await access('create', '--tenant', 'acme', '--name', 'ci')
  assert.match(key, /^mfy_[\w-]{43}$/)
  assert.equal((await execute(key)).status, 200)
  await access('revoke', 'ci')
  assert.equal((await execute(key)).status, 401)
  const store = join(place.state, 'keys.json')
  assert.equal(statSync(store).mode & 0o777, 0o600)
  assert.equal(statSync(store).uid, statSync(place.state).uid)
  assert.ok(!readFileSync(store, 'utf8').includes(key))
  const listed = await mayfly(place, ['access', 'list', '--json'])
  assert.ok(!listed.stdout.includes('sha256'))
  const rows = JSON.parse(listed.stdout) as { id: string; state: string }[]
  assert.match(rows.find((row) => row.id === id)?.state ?? '', /^revoked/)
})

test('S3-28: no key is 401, the wrong scope is 403, and a key of scope read may read', async () => {
  const { key } = await access('create', '--scope', 'read')
  assert.equal((await execute('')).status, 401)
  const url = new URL('/v1/executions', server.active).href
  assert.equal((await post(url, { code: 'return 1' }, {})).status, 401)
  const refused = await execute(key)
  assert.deepEqual([refused.status, refused.json['code']], [403, 'FORBIDDEN'])
  assert.equal((await providers(key)).status, 200)
})

test('Every change is in the record', async () => {
  const { key, id } = await access('create', '--expires', '1h')
  await access('revoke', id as string)
  const { stdout } = await mayfly(place, ['audit', 'list', '--limit', '100000', '--json'])
  const lines = JSON.parse(stdout) as { body: { point?: string; fields?: { id: string } } }[]
  const changes = lines.filter(({ body }) => body.fields?.id === id)
  assert.deepEqual(
    changes.map(({ body }) => body.point),
    ['access/created', 'access/revoked'],
  )
  assert.ok(!stdout.includes(key))
})

test('An invalid scope, tenant or time exits with code 2', async () => {
  for (const wrong of [
    ['--scope', 'everything'],
    ['--tenant', '../acme'],
    ['--expires', 'soon'],
    ['--expires', '2001-01-01'],
  ])
    assert.equal((await mayfly(place, ['access', 'create', ...wrong])).code, 2, wrong.join(' '))
  assert.equal((await mayfly(place, ['access', 'revoke', 'nobody'])).code, 1)
})
