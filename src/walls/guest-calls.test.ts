import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { taggedDepthMax } from '../lib/tagged.ts'
import { GuestCalls } from './guest-calls.ts'
import type { RealmEgress } from './guest-egress.ts'
import type { GuestLife } from './guest-life.ts'

/** Calls of a guest that was granted `echo`, with the texts that reach handlers, network and folders. */
function callsOf() {
  const seen: string[] = []
  const answers: { id: number; text?: string; error?: string }[] = []
  const handle = async (text: string) => {
    seen.push(text)
    return '1'
  }
  const aborted = (text: string, stop: AbortSignal) => {
    seen.push(text)
    return new Promise<string>((done) => stop.addEventListener('abort', () => done('2')))
  }
  const garbled: string[] = []
  const denied: unknown[] = []
  const life = {
    isEnded: false,
    garbled: (why: string) => void garbled.push(why),
    parts: {
      wall: {
        backlogBytes: 0,
        send: (_kind: number, text: string) => answers.push(JSON.parse(text)),
      },
      emitter: { emit: (_point: string, fields: unknown) => denied.push(fields) },
    },
    egressPath: {
      fetch: (text: string, stop: AbortSignal) =>
        text === '"hangs"' ? aborted(text, stop) : handle(text),
    },
    io: { call: (_name: string, text: string) => handle(text) },
    controls: { capabilities: ['echo'] },
  }
  const egress = { folders: { answer: handle } }
  const calls = new GuestCalls(life as unknown as GuestLife, egress as unknown as RealmEgress)
  const send = (id: number, name: string, args = '[]') =>
    calls.answer(Buffer.from(`${JSON.stringify({ id, name })}\n${args}`))
  const call = async (name: string, args: string) => {
    answers.length = 0
    await send(1, name, args)
    return answers.at(-1)
  }
  return { call, seen, send, life, answers, garbled, denied }
}

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)

test('Attack: arguments of a call that are nested deeper than a result reach no parser of the server', async () => {
  const { call, seen } = callsOf()
  for (const name of ['echo', 'mayfly.fetch', 'mayfly.files'])
    for (const args of [nested(taggedDepthMax + 1), nested(1_000_000), '{"a":'.repeat(100_000)])
      assert.match((await call(name, args))?.error ?? '', /nested deeper than 1536 levels/, name)
  assert.deepEqual(seen, [])
  for (const name of ['echo', 'mayfly.fetch', 'mayfly.files'])
    assert.deepEqual(await call(name, nested(taggedDepthMax)), { id: 1, text: '1' }, name)
  assert.equal(seen.length, 3)
})

test('A guest that calls while many bytes of answers are unread waits until it has read them', async () => {
  const { send, life, seen, answers, garbled } = callsOf()
  const { wall } = life.parts
  wall.backlogBytes = 9 * 2 ** 20
  const all = [1, 2, 3].map((id) => send(id, id === 2 ? 'mayfly.fetch' : 'echo', `[${id}]`))
  await sleep(50)
  assert.deepEqual([seen, answers, garbled], [[], [], []])
  wall.backlogBytes = 0
  await Promise.all(all)
  assert.deepEqual([seen, garbled], [['[1]', '[2]', '[3]'], []])
  assert.deepEqual(
    answers.map(({ id, text }) => [id, text]),
    [1, 2, 3].map((id) => [id, '1']),
  )
})

test('Attack: calls of a guest that reads no answer wait in bounded number and size, and none begins after its end', async () => {
  const { send, life, seen, answers, garbled } = callsOf()
  life.parts.wall.backlogBytes = 9 * 2 ** 20
  for (let id = 1; id <= 1000; id++) void send(id, 'echo')
  await send(1001, 'echo')
  assert.deepEqual([answers.length, answers[0]!.id], [1, 1001])
  assert.match(answers[0]!.error!, /too many calls wait/)
  life.isEnded = true
  life.parts.wall.backlogBytes = 0
  await sleep(50)
  assert.deepEqual([seen, garbled], [[], []])

  const large = callsOf()
  large.life.parts.wall.backlogBytes = 9 * 2 ** 20
  const args = JSON.stringify('x'.repeat(3 * 2 ** 20))
  for (let id = 1; id <= 10; id++) void large.send(id, 'mayfly.fetch', args)
  await large.send(11, 'mayfly.fetch', args)
  assert.match(large.answers[0]!.error!, /too many calls wait/)
  large.life.isEnded = true
})

test('A fetch that its guest gives up ends, or is never sent, and leaves its place', async () => {
  const { send, seen, answers, denied } = callsOf()
  const all = Array.from({ length: 65 }, (_, at) => send(at + 1, 'mayfly.fetch', '"hangs"'))
  const last = send(66, 'mayfly.fetch')
  assert.equal(seen.length, 64)
  for (const id of [65, 7, 7, 65]) await send(id, 'mayfly.forget')
  await last
  assert.deepEqual([seen.length, seen.at(-1)], [65, '[]'])
  assert.deepEqual(
    answers.map(({ id, text }) => [id, text]),
    [
      [65, undefined],
      [7, '2'],
      [66, '1'],
    ],
  )
  for (let id = 1; id <= 64; id++) await send(id, 'mayfly.forget')
  await Promise.all(all)
  assert.deepEqual([seen.length, answers.length, denied], [65, 66, []])
})

test('Attack: a call by the name for giving up a fetch is refused, and ends no fetch', async () => {
  const { send, answers, denied } = callsOf()
  const fetched = send(1, 'mayfly.fetch', '"hangs"')
  await send(2, 'mayfly.forget', '1')
  await sleep(20)
  assert.deepEqual([answers.length, answers[0]!.id], [1, 2])
  assert.match(answers[0]!.error!, /it is not granted/)
  assert.deepEqual(denied, [{ capability: 'mayfly.forget' }])
  await send(1, 'mayfly.forget')
  await fetched
  assert.deepEqual(answers.at(-1), { id: 1, text: '2' })
})

test('A guest may give up each fetch of as many as it may call', async () => {
  const { send, answers, garbled } = callsOf()
  for (let id = 1; id <= 100_000; id++) {
    const fetched = send(id, 'mayfly.fetch', '"hangs"')
    await send(id, 'mayfly.forget')
    await fetched
  }
  assert.deepEqual([answers.length, garbled], [100_000, []])
})

test('Attack: a guest that gives up a fetch again and again is garbled after as many as it may call', async () => {
  const { send, garbled } = callsOf()
  await send(1, 'mayfly.fetch')
  for (let sent = 0; sent < 100_000; sent++) await send(1, 'mayfly.forget')
  assert.deepEqual(garbled, [])
  await send(1, 'mayfly.forget')
  assert.deepEqual(garbled, ['too many calls'])
})
