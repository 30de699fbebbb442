import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { bearer, openDoor, post } from './http-door.ts'
import { makePlace, startServer, whenReady, type Place, type Server } from './program.ts'

const config = `[schedules.default]
phases = [{ name = "full", for = "20s" }]
[schedules.default.zones.compute]
phases = [{ name = "work", for = "15s" }]
`
const slow = `async function count(n) { await new Promise((done) => setTimeout(done, 10000)); return n }
let said = 'nothing'
try { await count(1) } catch (error) { said = error.message }
return said`

suite('Zones over HTTP', () => {
  let place: Place
  let server: Server
  before(async () => {
    place = makePlace()
    writeFileSync(join(place.cwd, 'mayfly.toml'), config)
    server = await startServer(place, ['--config', 'mayfly.toml'])
    await whenReady(server)
  })
  after(async () => {
    await server.stop()
    place.remove()
  })

  async function ask(method: string, path: string, body?: unknown) {
    const response = await fetch(new URL(path, server.active), {
      method,
      headers: {
        authorization: `Bearer ${server.apiKey}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as any,
    }
  }

  async function until(id: string, is: (seen: any) => boolean) {
    for (let tries = 0; tries < 500; tries++) {
      const { body } = await ask('GET', `/v1/zones/${id}`)
      if (is(body)) return body
      await sleep(20)
    }
    throw new Error('It never came to that')
  }

  const alive = (id: string) =>
    until(id, ({ zones }) => zones.some(({ zone }: { zone: string }) => zone === 'count'))

  test('S2-20: an analysis lists areas with their lines, and a plan zones with their code', async () => {
    const analysed = await ask('POST', '/v1/zones/analysis', { code: slow })
    assert.deepEqual(
      [analysed.status, analysed.body.areas[0].area, analysed.body.areas[0].line],
      [200, 'compute', 1],
    )
    const { status, body } = await ask('POST', '/v1/zones/plan', { code: slow })
    assert.equal(status, 200)
    assert.deepEqual(
      body.zones.map(({ id, execution }: { id: string; execution: unknown }) => [id, execution]),
      [
        ['main', null],
        ['count', null],
      ],
    )
    assert.deepEqual(
      body.code.map(({ zone, code }: { zone: string; code: string }) => [zone, code.length]),
      [
        ['main', slow.length],
        ['count', slow.length],
      ],
    )
  })

  test('S2-23: code begins in its zones, is monitored, and its outcome names them', async () => {
    const begun = await ask('POST', '/v1/zones', { code: slow, instanceId: 'one' })
    const { id, zones } = begun.body
    assert.equal(begun.status, 202)
    assert.equal(begun.headers.get('location'), `/v1/executions/${id}`)
    assert.deepEqual(
      zones.map((zone: { execution: string }) => zone.execution),
      [id, id],
    )
    const { status } = await alive(id)
    assert.equal(status, 'running')
    const loosened = await ask('POST', `/v1/zones/${id}/count/tighten`, {
      controls: { memory: '100GB' },
    })
    assert.deepEqual([loosened.status, loosened.body.code], [409, 'CONFLICT'])
    const tightened = await ask('POST', `/v1/zones/${id}/count/tighten`, { controls: { io: 4096 } })
    assert.deepEqual(
      [tightened.status, tightened.body.zone, tightened.body.held],
      [200, 'count', true],
    )
    const over = await until(id, ({ status }) => status === 'ok')
    assert.deepEqual(
      over.made.made.map(({ name }: { name: string }) => name),
      ['count'],
    )
    assert.ok(over.timeline.some(({ event }: { event: string }) => event === 'channel'))
    const outcome = await ask('GET', `/v1/executions/${id}`)
    assert.match(outcome.body.result, /was revoked when "count" was tightened/)
  })

  test('S2-25: ending one zone leaves the rest running', async () => {
    const { id } = (await ask('POST', '/v1/zones', { code: slow })).body
    await alive(id)
    const ended = await ask('DELETE', `/v1/zones/${id}/count`)
    assert.deepEqual([ended.status, ended.body.zone], [200, 'count'])
    await until(id, ({ status }) => status === 'ok')
    const { body } = await ask('GET', `/v1/executions/${id}`)
    assert.equal(body.result, 'Cannot call "count": its zone has ended')
    assert.equal((await ask('DELETE', `/v1/zones/${id}/count`)).status, 404)
  })

  test('Invalid code, an unknown zone and a job of another tenant are refused', async () => {
    assert.equal((await ask('POST', '/v1/zones', { code: 'return (' })).status, 422)
    assert.equal((await ask('POST', '/v1/zones', { code: '1', odd: 1 })).status, 422)
    assert.equal((await ask('GET', `/v1/zones/exec_${'0'.repeat(32)}`)).status, 404)
    const { id } = (await ask('POST', '/v1/zones', { code: slow })).body
    await alive(id)
    assert.equal((await ask('DELETE', `/v1/zones/${id}/attic`)).status, 404)
    assert.equal((await ask('DELETE', `/v1/zones/${id}/main`)).status, 200)
    await until(id, ({ status }) => status === 'terminated')
  })
})

test('A server with zone analysis disabled answers 503, and a request without a key gets 401', async () => {
  await using door = await openDoor()
  const at = new URL('/v1/zones', door.gateway.activeUrl).href
  assert.equal((await post(at, { code: '1' })).status, 401)
  assert.equal((await post(at, { code: '1' }, bearer(door.key))).status, 503)
})
