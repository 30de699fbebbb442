import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jsonOfMsgpack, msgpackOf } from '../../src/lib/msgpack.ts'
import { bearer, openDoor, type TestDoor } from './http-door.ts'

async function send(door: TestDoor, body: Uint8Array) {
  const response = await fetch(`${door.gateway.activeUrl}/v1/executions`, {
    method: 'POST',
    headers: {
      ...bearer(door.key),
      'content-type': 'application/msgpack',
      accept: 'application/msgpack',
    },
    body: new Uint8Array(body),
  })
  const bytes = new Uint8Array(await response.arrayBuffer())
  const json = jsonOfMsgpack(bytes, { depthMax: 64, charsMax: 2 ** 20 })
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    body: JSON.parse(json) as Record<string, any>,
  }
}

test('A job in MessagePack that accepts MessagePack is answered in it (S0-23)', async () => {
  await using door = await openDoor()
  const job = { code: '1', input: { a: [1, -2.5, 'é', null, true], b: 2 ** 40 } }
  const { status, type, body } = await send(door, msgpackOf(job))
  assert.deepEqual([status, type], [200, 'application/msgpack'])
  assert.deepEqual(body['result'], { echo: job.input })
})

test('An answer with a length of its own has another one in MessagePack (S0-23)', async () => {
  await using door = await openDoor()
  const headers = { accept: 'application/msgpack' }
  const response = await fetch(`${door.gateway.activeUrl}/openapi.json`, { headers })
  const bytes = new Uint8Array(await response.arrayBuffer())
  const { openapi } = JSON.parse(jsonOfMsgpack(bytes, { depthMax: 64, charsMax: 2 ** 20 }))
  assert.equal(openapi, '3.1.0')
})

test('A response is JSON unless MessagePack is accepted, for any format of the request (S0-23)', async () => {
  await using door = await openDoor()
  const job = { code: '1', input: 7 }
  for (const [type, body] of [
    ['application/json', JSON.stringify(job)],
    ['application/msgpack', new Uint8Array(msgpackOf(job))],
  ] as const)
    for (const accept of ['*/*', 'application/json']) {
      const headers = { ...bearer(door.key), 'content-type': type, accept }
      const url = `${door.gateway.activeUrl}/v1/executions`
      const response = await fetch(url, { method: 'POST', headers, body })
      assert.match(response.headers.get('content-type') ?? '', /^application\/json/)
      assert.deepEqual(((await response.json()) as { result: unknown }).result, { echo: 7 })
    }
})

test('An invalid job gets a problem document in MessagePack, with the path of the fault', async () => {
  await using door = await openDoor()
  const cases: readonly (readonly [Uint8Array, number, string])[] = [
    [msgpackOf({ code: 1 }), 422, 'INVALID'],
    [Buffer.from([0xc1]), 400, 'SYNTAX'],
    [Buffer.alloc(200, 0x91), 400, 'SYNTAX'],
    [Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]), 400, 'SYNTAX'],
    [
      Buffer.concat([
        Buffer.from([0x82]),
        ...[1, 2].flatMap((n) => [msgpackOf('code'), msgpackOf(`${n}`)]),
      ]),
      400,
      'SYNTAX',
    ],
  ]
  for (const [bytes, status, code] of cases) {
    const answer = await send(door, bytes)
    assert.deepEqual([answer.status, answer.body['code']], [status, code])
    assert.equal(answer.type, 'application/msgpack')
  }
  assert.equal(door.jobs.length, 0)
})

test('A key __proto__ in MessagePack reaches the job as data', async () => {
  await using door = await openDoor()
  const inner = Buffer.concat([
    Buffer.from([0x81]),
    msgpackOf('__proto__'),
    msgpackOf({ polluted: 1 }),
  ])
  const body = Buffer.concat([
    Buffer.from([0x82]),
    msgpackOf('code'),
    msgpackOf('1'),
    msgpackOf('input'),
    inner,
  ])
  assert.equal((await send(door, body)).status, 200)
  assert.equal(door.jobs[0]?.inputText, '{"__proto__":{"polluted":1}}')
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
})
