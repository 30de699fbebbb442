import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openLog } from '../../src/evidence/log-reader.ts'
import type { Operations } from '../../src/contract/live.ts'
import { openBodies } from '../../src/evidence/bodies.ts'
import { readCaptured } from '../../src/evidence/captures.ts'
import type { Scope } from '../../src/gateway/http/keys.ts'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { unable } from '../walls/process-stands.ts'
import { openDoor } from './http-door.ts'
import {
  documentOf,
  makeKey,
  makePlace,
  mayfly,
  startServer,
  whenReady,
  type Place,
  type Server,
} from './program.ts'

/** A gateway whose sandboxes belong to tenant `default`; records the commands sent to them. */
async function withKeys(limits = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-keys-'))
  const { created } = await openKeys({ folder })
  const made = (scopes: readonly Scope[]) => makeKey({ state: folder }, 'default', scopes)
  const keyOf = {
    admin: created!,
    operate: made(['operate']),
    read: made(['read']),
    run: made(['run']),
  }
  const { keys } = await openKeys({ folder })
  const orders: string[] = []
  const frozen = async (id: string) => {
    orders.push(id)
    return { id, frozen: true, took: 1 }
  }
  const operations = { list: () => [], freeze: frozen, thaw: frozen } as unknown as Operations
  const door = await openDoor({ keys, operations, limits })
  const ask = (method: string, path: string, key: keyof typeof keyOf) =>
    fetch(new URL(path, door.gateway.activeUrl), {
      method,
      headers: { authorization: `Bearer ${keyOf[key]}` },
    })
  return {
    ask,
    orders,
    async [Symbol.asyncDispose]() {
      await door[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true })
    },
  }
}

suite('Access to sandboxes', () => {
  test('Scopes operate and admin may act on sandboxes, scope read may view them, and a key of scope run has its own sessions', async () => {
    await using door = await withKeys()
    const statuses = async (method: string, path: string) =>
      Promise.all(
        (['admin', 'operate', 'read', 'run'] as const).map(
          async (key) => (await door.ask(method, path, key)).status,
        ),
      )
    assert.deepEqual(await statuses('GET', '/v1/sandboxes'), [200, 200, 200, 200])
    assert.deepEqual(await statuses('POST', '/v1/sandboxes/exec_1/freeze'), [200, 200, 403, 404])
    assert.equal(door.orders.length, 2)
  })

  test('A server without sessions refuses to open one', async () => {
    await using door = await withKeys()
    const refused = await door.ask('POST', '/v1/sandboxes', 'run')
    assert.deepEqual([refused.status, ((await refused.json()) as any).code], [503, 'UNAVAILABLE'])
  })

  test('A key has a rate limit of commands, and an admin has none', async () => {
    await using door = await withKeys({ operatePerMinute: 2 })
    const order = async (key: 'operate' | 'admin') =>
      (await door.ask('POST', '/v1/sandboxes/exec_1/thaw', key)).status
    const all = async (key: 'operate' | 'admin') => [
      await order(key),
      await order(key),
      await order(key),
    ]
    assert.deepEqual(await all('operate'), [200, 200, 429])
    assert.deepEqual(await all('admin'), [200, 200, 200])
  })
})

const noWall = unable()
/** Prints a line every 20 ms until it is ended. */
const beating = `let n = 0
setInterval(() => console.log(++n), 20)`

suite('Live sandboxes of a server', () => {
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

  async function read(method: string, path: string, body?: unknown, key = server.apiKey) {
    const response = await fetch(new URL(path, server.active), {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(path === '/v1/executions' && { prefer: 'respond-async' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as any }
  }

  /** Starts a program, and waits until it runs. */
  async function begun(timeout = '20s'): Promise<string> {
    const job = { code: beating, language: 'node', limits: { timeout } }
    const { body } = await read('POST', '/v1/executions', job)
    for (let tries = 0; tries < 300; tries++) {
      const found = await read('GET', `/v1/sandboxes/${body.id}`)
      if (found.body.phase) return body.id as string
      await sleep(20)
    }
    throw new Error('The program did not begin')
  }

  async function outcomeOf(id: string) {
    for (let tries = 0; tries < 500; tries++) {
      const { body } = await read('GET', `/v1/executions/${id}`)
      if (body.timeline) return body
      await sleep(20)
    }
    throw new Error('The program did not end')
  }

  test('A sandbox is listed, tightened, frozen, thawed, captured and ended, and its outcome has each step', async (t) => {
    if (noWall) return t.skip(noWall)
    const id = await begun()
    const listed = await read('GET', '/v1/sandboxes')
    assert.deepEqual(
      listed.body.items.map((one: { id: string }) => one.id),
      [id],
    )
    const at = (order: string, body?: unknown) => read('POST', `/v1/sandboxes/${id}/${order}`, body)

    const tightened = await at('tighten', { controls: { cpu: 0.5 } })
    assert.deepEqual(
      [tightened.status, tightened.body.held, tightened.body.controls.cpu],
      [200, true, 0.5],
    )
    const loosened = await at('tighten', { controls: { cpu: 0.9, network: 'open' } })
    assert.deepEqual([loosened.status, loosened.body.code], [409, 'CONFLICT'])
    assert.equal(loosened.body.details.inForce.cpu, 0.5)
    assert.equal((await at('tighten', { controls: { cpus: 1 } })).status, 422)

    assert.equal((await at('freeze')).body.frozen, true)
    const frozen = await read('GET', `/v1/sandboxes/${id}`)
    await sleep(200)
    const later = await read('GET', `/v1/sandboxes/${id}`)
    assert.ok(later.body.frozen && later.body.age >= frozen.body.age + 150)
    assert.equal((await at('thaw')).body.frozen, false)
    assert.equal((await at('freeze')).body.frozen, true)
    assert.equal((await at('resume')).body.frozen, false)
    const { body: captured } = await at('capture')
    const { can } = later.body as { can: readonly string[] }
    assert.equal(captured.kind, can.includes('capture-memory') ? 'memory' : 'none')

    const ended = await read('DELETE', `/v1/sandboxes/${id}`)
    assert.deepEqual([ended.status, ended.body.status], [200, 'terminated'])
    const outcome = await outcomeOf(id)
    assert.deepEqual([outcome.status, outcome.tier], ['terminated', 'process'])
    assert.match(outcome.error.message, /operator/)
    const words = outcome.timeline.map(({ event }: { event: string }) => event)
    for (const word of ['tightened', 'frozen', 'thawed', 'captured'])
      assert.ok(words.includes(word), word)
    assert.equal(words.at(-1), 'terminated')
    const closed = outcome.timeline.filter(({ event }: { event: string }) => event === 'tightened')
    assert.deepEqual(
      closed.map(({ controls }: { controls: unknown }) => controls),
      [{ cpu: 0.5 }],
    )
    const told = outcome.timeline.find(({ event }: { event: string }) => event === 'captured')
    assert.deepEqual(told.fields.parts ?? [], captured.parts)
    const bodies = openBodies(place.state)
    try {
      for (const { name, size, sha256: digest } of captured.parts) {
        const { bytes } = readCaptured(bodies, { tenant: 'default', run: id }, name)
        const kept = Buffer.concat(await Array.fromAsync(bytes))
        assert.deepEqual([kept.byteLength, sha256(kept)], [size, digest])
      }
    } finally {
      bodies.close()
    }

    const gone = await read('GET', `/v1/sandboxes/${id}`)
    const never = await read('DELETE', `/v1/sandboxes/exec_${'0'.repeat(32)}`)
    assert.deepEqual([gone.status, gone.body], [404, never.body])
  })

  test('A frozen program ends at its timeout, as if it had not been frozen', async (t) => {
    if (noWall) return t.skip(noWall)
    const id = await begun('2s')
    assert.equal((await read('POST', `/v1/sandboxes/${id}/freeze`)).status, 200)
    const outcome = await outcomeOf(id)
    assert.equal(outcome.status, 'timeout')
    const words = outcome.timeline.map(({ event }: { event: string }) => event)
    assert.deepEqual(words.slice(-2), ['frozen', 'terminated'])
    assert.ok(outcome.timeline.at(-1).at >= 2000)
  })

  test('An operator of another tenant finds no sandbox, and can end none', async (t) => {
    if (noWall) return t.skip(noWall)
    const id = await begun()
    const args = ['access', 'create', '--tenant', 'acme', '--scope', 'operate', '--json']
    const { key } = documentOf(await mayfly(place, args))
    const ask = (method: string, path: string) => read(method, path, undefined, key as string)
    assert.deepEqual((await ask('GET', '/v1/sandboxes')).body, { items: [] })
    const none = `exec_${'0'.repeat(32)}`
    for (const [method, order] of [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/freeze'],
      ['POST', '/capture'],
    ] as const) {
      const foreign = await ask(method, `/v1/sandboxes/${id}${order}`)
      const unknown = await ask(method, `/v1/sandboxes/${none}${order}`)
      assert.deepEqual([foreign.status, foreign.body], [404, unknown.body])
    }
    assert.equal((await read('GET', `/v1/sandboxes/${id}`)).body.frozen, false)
    await read('DELETE', `/v1/sandboxes/${id}`)
  })

  test('Each command to a sandbox is a line of the record, with its principal', async (t) => {
    if (noWall) return t.skip(noWall)
    const id = await begun()
    await read('POST', `/v1/sandboxes/${id}/tighten`, {
      controls: { network: 'none', processes: 8 },
    })
    await read('DELETE', `/v1/sandboxes/${id}`)
    using log = openLog(join(place.state, 'audit.db'))
    const lines = [...log.lines()].map((line) => JSON.stringify(line))
    for (const point of ['operator/tightened', 'operator/terminated'])
      assert.ok(lines.some((line) => line.includes(point) && line.includes(id)))
  })
})
