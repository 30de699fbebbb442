import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openKeys } from '../../src/gateway/http/keys.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { MayflyClient } from '../../src/sdk/client.js'
import { adminKey, bearer, call, endOf, openDoor, type TestDoor } from './http-door.ts'

const otherKey = 'mfy_other_0123456789abcdefghijklmnop'

/** A pipeline stub that prints `before`, waits, and prints `after`. */
function talking(before: readonly string[], after: readonly string[] = []) {
  const { promise: goOn, resolve: letGo } = Promise.withResolvers<void>()
  const road: RunJob = async (job, { tap }) => {
    for (const text of before) await tap?.('stdout', text)
    await goOn
    for (const text of after) await tap?.('stdout', text)
    return endOf(job, { result: 7 })
  }
  return { road, letGo }
}

const clientOf = (door: TestDoor, key = adminKey) =>
  new MayflyClient({ url: door.gateway.activeUrl, key })

test('A late reader gets the past and the further events of a running job, and its outcome', async () => {
  const { road, letGo } = talking(['one', 'two'], ['three'])
  await using door = await openDoor({ road })
  const client = clientOf(door)
  const { id } = await client.submit({ code: '1' })
  const told = client.watch(id)
  const first = await told.next()
  assert.deepEqual(first.value, { event: 'stdout', data: { text: 'one' }, id: 1 })
  letGo()
  const [two, three, outcome, more] = await Array.fromAsync(told)
  assert.deepEqual(two, { event: 'stdout', data: { text: 'two' }, id: 2 })
  assert.deepEqual(three, { event: 'stdout', data: { text: 'three' }, id: 3 })
  assert.partialDeepStrictEqual(outcome, { event: 'outcome', data: { result: 7 } })
  assert.equal(more, undefined)
})

test('A reader resumes after its last event, and a reader that disconnects does not end the job', async () => {
  const { road, letGo } = talking(['one', 'two'], ['three'])
  await using door = await openDoor({ road })
  const client = clientOf(door)
  const { id } = await client.submit({ code: '1' })
  for await (const { id: seq } of client.watch(id)) if (seq === 2) break
  const told = client.watch(id, { after: 1 })
  assert.deepEqual((await told.next()).value, { event: 'stdout', data: { text: 'two' }, id: 2 })
  letGo()
  assert.deepEqual(
    (await Array.fromAsync(told)).map(({ event }) => event),
    ['stdout', 'outcome'],
  )
})

test('The stream of a finished job has only its outcome', async () => {
  await using door = await openDoor()
  const client = clientOf(door)
  const { id } = await client.run({ code: '1' })
  const all = await Array.fromAsync(client.watch(id))
  assert.deepEqual(
    all.map(({ event, data }) => [event, (data as any).id]),
    [['outcome', id]],
  )
})

test('Only the newest events are kept, and a gap in the ids shows the loss', async () => {
  const chunk = 'x'.repeat(16_384)
  const { road, letGo } = talking(Array.from({ length: 100 }, () => chunk))
  await using door = await openDoor({ road })
  const client = clientOf(door)
  const { id } = await client.submit({ code: '1' })
  const ids: (number | undefined)[] = []
  for await (const one of client.watch(id)) {
    ids.push(one.id)
    if (one.id === 100) letGo()
  }
  assert.deepEqual(ids, [98, 99, 100, undefined])
})

test('An execution of another tenant gets the response of an unknown one', async () => {
  const { road, letGo } = talking(['one'])
  const { keys } = await openKeys({
    first: adminKey,
    tenants: [{ name: 'other', keys: [`sha256:${sha256(otherKey)}`] }],
  })
  await using door = await openDoor({ road, keys })
  const { id } = await clientOf(door).submit({ code: '1' })
  const ask = async (one: string) => {
    const headers = { ...bearer(otherKey), accept: 'text/event-stream' }
    const { status, text } = await call(`${door.gateway.activeUrl}/v1/executions/${one}`, {
      headers,
    })
    return { status, text }
  }
  const foreign = await ask(id)
  assert.equal(foreign.status, 404)
  assert.deepEqual(foreign, await ask(id.replace(/.{4}$/, '0000')))
  letGo()
})

test('A job has at most eight readers', async () => {
  const { road, letGo } = talking(['one'])
  await using door = await openDoor({ road })
  const { id } = await clientOf(door).submit({ code: '1' })
  const readers = Array.from({ length: 8 }, () => clientOf(door).watch(id))
  for (const one of readers) await one.next()
  await assert.rejects(clientOf(door).watch(id).next(), { code: 'RATE_LIMITED' })
  letGo()
  for (const one of readers) await Array.fromAsync(one)
})
