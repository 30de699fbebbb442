import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { effectsRoom } from './effects-room.ts'
import { bearer, call, endOf, openDoor, post } from './http-door.ts'

const otherKey = 'mfy_other_0123456789abcdefghijklmnop'

/** A gateway with access to its effects module, and keys of two tenants. */
async function openEffects(options: Parameters<typeof openDoor>[0] = {}) {
  const room = effectsRoom()
  const { keys } = await openKeys({
    first: 'mfy_admin_0123456789abcdefghijklmnop',
    tenants: [{ name: 'other', keys: [`sha256:${sha256(otherKey)}`] }],
  })
  const door = await openDoor({ keys, effects: room.effects, ...options })
  const at = (path: string) => `${door.gateway.activeUrl}${path}`
  return {
    door,
    room,
    at,
    send: (path: string, body: unknown, key = door.key) => post(at(path), body, bearer(key)),
    look: (path: string, method = 'GET', key = door.key) =>
      call(at(path), { method, headers: bearer(key) }),
    [Symbol.asyncDispose]: () => door[Symbol.asyncDispose](),
  }
}

const scoring = (score: number) => ({ effectId: 'transform-data', code: `/* ${score} */ return 1` })

suite('Registering an effect', () => {
  test('A request without a valid key is 401 before its body is analysed, for four bodies (S3-28)', async () => {
    await using all = await openEffects()
    const url = all.at('/api/effects/register')
    assert.equal((await all.send('/api/effects/register', scoring(35))).status, 200)
    assert.equal(all.room.analysed.length, 1)
    for (const body of [scoring(35), '{', {}, { effectId: 1 }]) {
      assert.equal((await post(url, body)).status, 401)
      assert.equal(
        (await post(url, body, bearer('mfy_wrong_0123456789abcdefghijklmnop'))).status,
        401,
      )
    }
    assert.equal(all.room.analysed.length, 1)
  })

  test('A key without the scope is 403, and nothing is analysed (S3-28)', async () => {
    const reader = { id: 'r', tenant: 'default', principal: 'reader', scopes: ['read'] } as const
    await using all = await openEffects({ keys: { find: () => reader } })
    for (const path of ['register', 'execute']) {
      const { status, json } = await all.send(`/api/effects/${path}`, scoring(35))
      assert.deepEqual([status, json['code']], [403, 'FORBIDDEN'])
    }
    assert.equal((await all.look('/api/effects/x', 'DELETE')).status, 403)
    assert.equal((await all.look('/api/effects')).status, 200)
    assert.equal(all.room.analysed.length, 0)
  })

  test('An invalid body is 422 with the path of the fault, and is not analysed (S3-29)', async () => {
    await using all = await openEffects()
    const paths = async (body: unknown) => {
      const { status, json } = await all.send('/api/effects/register', body)
      assert.equal(status, 422)
      assert.equal(json['code'], 'INVALID')
      return (json['details'] as { path: string }[]).map(({ path }) => path)
    }
    assert.deepEqual(await paths({ effectId: 'x' }), ['code'])
    assert.deepEqual(await paths({ code: 'return 1' }), ['effectId'])
    assert.deepEqual(await paths({ ...scoring(0), effectId: '../x' }), ['effectId'])
    assert.deepEqual(await paths({ ...scoring(0), effectId: 'execute' }), ['effectId'])
    assert.deepEqual(await paths({ ...scoring(0), timeout: '5s' }), ['timeout'])
    assert.deepEqual(await paths({ ...scoring(0), memoryLimit: 1 }), ['memoryLimit'])
    assert.deepEqual(await paths({ ...scoring(0), colour: 'red' }), ['colour'])
    assert.deepEqual(await paths({ ...scoring(0), code: 'return "\uD800"' }), ['code'])
    assert.equal(all.room.analysed.length, 0)
  })

  test('The response has exactly the documented fields (S3-32)', async () => {
    await using all = await openEffects()
    const { status, json } = await all.send('/api/effects/register', scoring(35))
    assert.equal(status, 200)
    assert.deepEqual(json, {
      effectId: 'transform-data',
      timeout: 5000,
      memoryLimit: 128,
      registeredBy: 'key:environment',
      security: { threatScore: 35, severity: 'low', signatureValid: false },
    })
  })

  test('Time is given in milliseconds, memory in megabytes', async () => {
    await using all = await openEffects()
    const asked = { ...scoring(0), timeout: 250, memoryLimit: 64 }
    const { json } = await all.send('/api/effects/register', asked)
    assert.deepEqual([json['timeout'], json['memoryLimit']], [250, 64])
    await all.send('/api/effects/execute', { effectId: 'transform-data' })
    const { limits } = all.door.jobs[0]!.asked
    assert.deepEqual([limits.timeout, limits.memory], [250, 64 * 2 ** 20])
  })

  test('A score of 79 is registered, 80 and 81 are blocked (S3-30)', async () => {
    await using all = await openEffects()
    const statuses = []
    for (const score of [79, 80, 81])
      statuses.push((await all.send('/api/effects/register', scoring(score))).status)
    assert.deepEqual(statuses, [200, 403, 403])
    const { json } = await all.look('/api/effects/transform-data')
    assert.equal(json['code'], scoring(79).code)
  })

  test('A blocked effect is answered with score, severity and patterns, each with its position (S3-33)', async () => {
    await using all = await openEffects()
    const { status, json } = await all.send('/api/effects/register', scoring(95))
    assert.equal(status, 403)
    const { code, message, details } = json
    assert.deepEqual(
      { code, message, details },
      {
        code: 'THREAT_DETECTED',
        message: 'Code contains potential security threats',
        details: {
          score: 95,
          severity: 'critical',
          patterns: [
            {
              name: 'PROCESS_ACCESS',
              description: 'Process manipulation attempt',
              severity: 'critical',
              line: 3,
              column: 9,
            },
          ],
        },
      },
    )
  })

  test('A score of 41 is recorded, 40 is not, and a blocked effect is too (S3-31)', async () => {
    await using all = await openEffects()
    for (const score of [40, 41, 95]) await all.send('/api/effects/register', scoring(score))
    assert.deepEqual(
      all.room.audited.map(({ threatScore, blocked }) => [threatScore, blocked]),
      [
        [41, false],
        [95, true],
      ],
    )
  })

  test('Code that does not parse is 422 with its position, and the registered effect stays', async () => {
    await using all = await openEffects()
    await all.send('/api/effects/register', scoring(0))
    const broken = { effectId: 'transform-data', code: 'f(;' }
    const { status, json } = await all.send('/api/effects/register', broken)
    assert.equal(status, 422)
    assert.deepEqual(json['details'], [
      { path: 'code', message: 'Unexpected token', line: 1, column: 2 },
    ])
    const { json: kept } = await all.look('/api/effects/transform-data')
    assert.equal(kept['code'], scoring(0).code)
  })
})

suite('Executing an effect', () => {
  test('The response is the outcome with the effect’s name (S3-34)', async () => {
    await using all = await openEffects({
      road: async (job) =>
        endOf(job, {
          result: { transformed: 'data' },
          metrics: {
            ...endOf(job).metrics,
            executionTime: 245,
            memoryUsage: { used: 1_234_567, percentage: 12.3, peak: 1_300_000 },
          },
        }),
    })
    await all.send('/api/effects/register', scoring(0))
    const called = { effectId: 'transform-data', input: { a: 1 } }
    const { status, json } = await all.send('/api/effects/execute', called)
    assert.equal(status, 200)
    const { effectId, result, metrics } = json
    assert.equal(effectId, 'transform-data')
    assert.deepEqual(result, { transformed: 'data' })
    assert.equal(metrics.executionTime, 245)
    assert.equal(metrics.memoryUsage.used, 1_234_567)
    assert.equal(metrics.memoryUsage.percentage, 12.3)
    assert.equal(json['status'], 'ok')
    assert.equal(all.door.jobs[0]!.inputText, '{"a":1}')
    assert.equal(all.door.jobs[0]!.asked.code, scoring(0).code)
  })

  test('A key and a valid body are required', async () => {
    await using all = await openEffects()
    assert.equal((await post(all.at('/api/effects/execute'), {})).status, 401)
    const { status, json } = await all.send('/api/effects/execute', { effectId: 'x', code: '1' })
    assert.equal(status, 422)
    assert.equal(json['details'][0].path, 'code')
  })

  test('POST /v1/executions takes an effectId in place of code, never both', async () => {
    await using all = await openEffects()
    await all.send('/api/effects/register', scoring(0))
    const called = { effectId: 'transform-data', limits: { timeout: '1s' } }
    assert.equal((await all.send('/v1/executions', called)).status, 200)
    const { code, limits, language } = all.door.jobs[0]!.asked
    assert.deepEqual([code, limits.timeout, language], [scoring(0).code, 1000, 'js'])
    const both = { effectId: 'transform-data', code: 'return 1' }
    assert.equal((await all.send('/v1/executions', both)).status, 422)
    const asPython = { effectId: 'transform-data', language: 'python' }
    assert.equal((await all.send('/v1/executions', asPython)).status, 422)
  })
})

suite('Stored effects', () => {
  test('Stored effects are listed without their code, read with it, and removed', async () => {
    await using all = await openEffects()
    await all.send('/api/effects/register', { ...scoring(35), effectId: 'b' })
    await all.send('/api/effects/register', { ...scoring(35), effectId: 'a' })
    const { json } = await all.look('/api/effects')
    assert.deepEqual(
      (json['items'] as Record<string, unknown>[]).map((row) => [row['effectId'], 'code' in row]),
      [
        ['a', false],
        ['b', false],
      ],
    )
    assert.equal((await all.look('/api/effects/a')).json['code'], scoring(35).code)
    assert.equal((await all.look('/api/effects/a', 'DELETE')).status, 204)
    assert.equal((await all.look('/api/effects/a', 'DELETE')).status, 404)
    assert.equal((await all.send('/api/effects/execute', { effectId: 'a' })).status, 404)
  })

  test('Another tenant’s effect gets the response of an unknown effect', async () => {
    await using all = await openEffects()
    await all.send('/api/effects/register', { ...scoring(0), effectId: 'mine' })
    const tries = async (effectId: string) => [
      (await all.look(`/api/effects/${effectId}`, 'GET', otherKey)).text,
      (await all.look(`/api/effects/${effectId}`, 'DELETE', otherKey)).text,
      (await all.send('/api/effects/execute', { effectId }, otherKey)).text,
      (await all.send('/v1/executions', { effectId }, otherKey)).text,
    ]
    const [foreign, unknown] = [await tries('mine'), await tries('none')]
    assert.deepEqual(
      foreign.map((text) => text.replaceAll('mine', 'none')),
      unknown,
    )
    assert.deepEqual((await all.look('/api/effects', 'GET', otherKey)).json, { items: [] })
    assert.equal((await all.look('/api/effects/mine')).status, 200)
  })

  test('An invalid name is not found, and is repeated in no message', async () => {
    await using all = await openEffects()
    for (const name of ['%0a%0dfake', '..%2f..%2fkeys', '%00', '__proto__', 'x'.repeat(300)]) {
      const { status, json } = await all.look(`/api/effects/${name}`)
      assert.equal(status, 404, name)
      assert.match(json['message'], /^Cannot find (an effect of this name|this path)$/)
    }
  })

  test('An unsupported method is 405 with the list of allowed methods', async () => {
    await using all = await openEffects()
    const { status, headers } = await all.look('/api/effects/register', 'DELETE')
    assert.equal(status, 405)
    assert.equal(headers.get('allow'), 'POST, OPTIONS')
    assert.equal(
      (await all.look('/api/effects/x', 'PUT')).headers.get('allow'),
      'GET, HEAD, DELETE, OPTIONS',
    )
  })
})
