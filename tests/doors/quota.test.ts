import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyClient } from '../../src/sdk/client.js'
import { test } from '../fixtures/drawn.ts'
import { bearer, call, post } from './http-door.ts'
import { makeKey, makePlace, type Place, startServer, whenReady } from './program.ts'

const triesMax = 500
const burns = 'const end = performance.now() + 1500; while (performance.now() < end);'
let place: Place
let config: string
const keys: Record<string, string> = {}

before(() => {
  place = makePlace()
  config = join(place.cwd, 'quota.toml')
  const tenants = [
    ['busy', 'concurrency = 2'],
    ['heavy', 'cpu_seconds_per_minute = 0.02, runs_per_minute = 100'],
    ['owing', 'cpu_seconds_per_minute = 0.5, concurrency = 1'],
    ['other', 'concurrency = 2, cpu_seconds_per_minute = 60'],
  ]
  const tables = tenants.map(
    ([name, ceilings]) => `[[tenants]]\nname = "${name}"\nceilings = { ${ceilings} }\n`,
  )
  writeFileSync(config, tables.join('\n'))
})
after(() => place.remove())

async function open() {
  const server = await startServer(place, ['--config', config])
  for (const name of ['busy', 'heavy', 'owing', 'other']) keys[name] ??= makeKey(place, name)
  await whenReady(server)
  const execute = (tenant: string, body: object) =>
    post(new URL('/v1/executions', server.active).href, body, bearer(keys[tenant]!))
  return { server, execute }
}

/** Waits until a tenant has this number of running jobs, and returns them. */
async function running(client: MayflyClient, count: number) {
  for (let tries = 0; tries < triesMax; tries++) {
    const { items } = await client.list({ limit: 10 })
    const begun = items.filter(({ status }) => status === 'running')
    if (begun.length === count) return begun
    await sleep(20)
  }
  throw new Error(`There were never ${count} jobs at once`)
}

test('S0-12: a third job at once is 429 with Retry-After, and another tenant is served', async () => {
  const { server, execute } = await open()
  await using _server = server
  const endless = { code: 'await new Promise(() => {})', limits: { timeout: '30s' } }
  const two = [execute('busy', endless), execute('busy', endless)]
  const client = new MayflyClient({ url: server.active, key: keys['busy']! })
  const begun = await running(client, 2)
  const third = await execute('busy', { code: 'return 1' })
  assert.deepEqual([third.status, third.json['code']], [429, 'RATE_LIMITED'])
  assert.ok(Number(third.headers.get('retry-after')) >= 1)
  assert.deepEqual(third.json['details'], { limit: 'concurrency' })
  assert.equal((await execute('other', { code: 'return 1' })).status, 200)
  for (const { id } of begun) await client.cancel(id)
  assert.deepEqual(
    (await Promise.all(two)).map(({ status }) => status),
    [200, 200],
  )
  assert.equal((await execute('busy', { code: 'return 1' })).status, 200)
  await server.stop()
})

test('S0-12: an exhausted budget of CPU time is still exhausted after a restart', async () => {
  const first = await open()
  const spent = await first.execute('heavy', { code: burns })
  assert.equal(spent.status, 200)
  assert.equal(spent.headers.get('ratelimit-limit'), '1')
  assert.match(spent.headers.get('ratelimit-policy') ?? '', /100;w=60;comment="runs_per_minute"/)
  assert.equal((await first.execute('heavy', { code: 'return 1' })).status, 429)
  assert.equal((await first.server.stop()).code, 0)

  const second = await open()
  await using _server = second.server
  const refused = await second.execute('heavy', { code: 'return 1' })
  assert.equal(refused.status, 429)
  assert.deepEqual(refused.json['details'], { limit: 'cpu_seconds_per_minute' })
  assert.ok(Number(refused.headers.get('retry-after')) > 60)
  assert.equal((await second.execute('other', { code: 'return 1' })).status, 200)
  const url = new URL('/v1/providers', second.server.active).href
  assert.equal((await call(url, { headers: bearer(keys['heavy']!) })).status, 200)
  await second.server.stop()
})

test('S0-12: the owner of a session whose quota is used up is refused a capture with 429, and an operator makes one', async () => {
  const { server } = await open()
  await using _server = server
  const operator = makeKey(place, 'owing', ['operate'])
  const ask = (path: string, body: object, key = keys['owing']!) =>
    post(new URL(`/v1/sandboxes${path}`, server.active).href, body, bearer(key))
  const opened = await ask('', { language: 'js' })
  assert.equal(opened.status, 201)
  const of = `/${String(opened.json['id'])}`
  assert.equal((await ask(`${of}/capture`, {})).status, 200)
  let refused = { status: 200, json: {} as Record<string, unknown> }
  // On a busy machine an exec gets little CPU time.
  for (let tries = 0; refused.status === 200; tries++) {
    assert.ok(tries < 40, 'it is never used up')
    await ask(`${of}/run`, { code: burns })
    refused = await ask(`${of}/capture`, {})
  }
  assert.deepEqual(
    [refused.status, refused.json['details']],
    [429, { limit: 'cpu_seconds_per_minute' }],
  )
  assert.equal((await ask(`${of}/capture`, {}, operator)).status, 200)
  await server.stop()
})
