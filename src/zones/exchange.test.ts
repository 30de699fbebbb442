import assert from 'node:assert/strict'
import { test } from 'node:test'
import { channelLimits } from './channel-limits.ts'
import { defaultBudget, Exchange, type ChannelBudget, type ChannelNote } from './exchange.ts'

function stand(more: Partial<ChannelBudget> = {}) {
  const notes: ChannelNote[] = []
  const exchange = new Exchange({
    permitted: new Map([
      ['main', ['a', 'b']],
      ['a', ['b']],
      ['b', ['a']],
    ]),
    budget: { ...defaultBudget, ...more },
    note: (note) => notes.push(note),
  })
  const say = (zone: string, what: unknown) => exchange.handle(zone, JSON.stringify(what))
  const call = (from: string, to: string, args: unknown = ['a', []]) => say(from, { to, args })
  /** Takes and answers the next call of a zone. */
  async function serve(zone: string, value: unknown = 1): Promise<number> {
    const { id } = JSON.parse(await say(zone, { next: true })) as { id: number }
    await say(zone, { reply: { id, value } })
    return id
  }
  return { exchange, notes, say, call, serve }
}

test('A call reaches the zone that it names, and its answer reaches the caller', async () => {
  const { call, say, serve } = stand()
  const asked = call('main', 'a', ['a', [1, 'x']])
  const { id, args } = JSON.parse(await say('a', { next: true })) as { id: number; args: unknown }
  assert.deepEqual(args, ['a', [1, 'x']])
  await say('a', { reply: { id, value: ['n', 'NaN'] } })
  assert.equal(await asked, '{"value":["n","NaN"]}')
  const waits = serve('b')
  assert.equal(await call('a', 'b'), '{"value":1}')
  await waits
})

test('S2-17: a call outside the permitted channels is refused, and reported with caller and callee', async () => {
  const { call, notes } = stand()
  await assert.rejects(call('a', 'main'), /no such channel is permitted/)
  await assert.rejects(call('b', '__proto__'), /no such channel/)
  await assert.rejects(call('nobody', 'a'), /has none open/)
  assert.deepEqual(notes, [
    { from: 'a', to: 'main', what: 'refused', why: 'no such channel is permitted' },
    { from: 'b', to: '__proto__', what: 'refused', why: 'no such channel is permitted' },
  ])
})

test('S2-18: a channel limits its number of calls, the size of a call and of an answer, and its data', async () => {
  const few = stand({ calls: 2 })
  for (let count = 0; count < 2; count++) {
    const asked = few.call('main', 'a')
    await few.serve('a')
    await asked
  }
  await assert.rejects(few.call('main', 'a'), /carries 2 calls/)
  const other = few.call('main', 'b')
  await few.serve('b')
  await other

  const small = stand({ unitsOfOne: 100 })
  await assert.rejects(small.call('main', 'a', 'x'.repeat(100)), /too large/)
  const asked = small.call('main', 'a')
  const refused = assert.rejects(asked, /its answer is too large/)
  await small.serve('a', 'x'.repeat(100))
  await refused

  const short = stand({ units: 100 })
  const first = short.call('main', 'a', 'x'.repeat(20))
  await short.serve('a')
  await first
  // Two calls of 40 units: over the limit only with the 28 of the answer.
  await assert.rejects(short.call('main', 'a', 'x'.repeat(20)), /no more data/)
})

test('Calls beyond the queue of a channel are refused, and another zone still reaches the same zone', async () => {
  const { call, serve, notes } = stand({ waiting: 4 })
  const waiting = Array.from({ length: 4 }, () => call('a', 'b'))
  for (let count = 0; count < 200; count++)
    await assert.rejects(call('a', 'b'), /too many calls are waiting/)
  assert.ok(notes.length <= 64)
  const main = call('main', 'b')
  for (let count = 0; count < 5; count++) await serve('b')
  await Promise.all([...waiting, main])
})

test('Two zones that call each other are refused beyond the limit of pending calls', async () => {
  const { exchange, call, notes } = stand()
  const errors: string[] = []
  const caught = (promise: Promise<string>) =>
    promise.then(String, (error: Error) => void errors.push(error.message))
  const all: Promise<unknown>[] = []
  for (let count = 0; count < 400; count++) all.push(caught(call('a', 'b')), caught(call('b', 'a')))
  await new Promise((resolve) => void setImmediate(resolve))
  assert.equal(errors.filter((message) => /too many/.test(message)).length, 800 - 128)
  assert.ok(notes.length > 0)
  exchange.end('a', 'its zone has ended')
  exchange.end('b', 'its zone has ended')
  await Promise.all(all)
})

test('S2-18: revoking a channel rejects its queued and pending calls, and all later ones', async () => {
  const { exchange, call, say, notes } = stand()
  const [held, queued] = [call('main', 'a'), call('main', 'a')]
  const refused = [held, queued].map((one) => assert.rejects(one, /revoked: odd/))
  const { id } = JSON.parse(await say('a', { next: true })) as { id: number }
  const channel = { from: 'main', to: 'a' }
  exchange.revoke(channel, 'revoked: odd')
  await Promise.all(refused)
  await assert.rejects(call('main', 'a'), /revoked: odd/)
  await assert.rejects(say('a', { reply: { id, value: 1 } }), /was not asked/)
  assert.deepEqual(notes[0], { from: 'main', to: 'a', what: 'revoked', why: 'revoked: odd' })
  const kept = call('b', 'a')
  const next = JSON.parse(await say('a', { next: true })) as { id: number }
  await say('a', { reply: { id: next.id, value: 2 } })
  assert.equal(await kept, '{"value":2}')
  exchange.revoke(channel, 'again')
  exchange.revoke({ from: 'a', to: 'main' }, 'never permitted')
  assert.equal(notes.filter(({ what }) => what === 'revoked').length, 1)
  assert.deepEqual(
    exchange.open.map(({ from, to }) => `${from} ${to}`),
    ['main b', 'a b', 'b a'],
  )
  exchange.end('a', 'its zone has ended')
  assert.deepEqual(
    exchange.open.map(({ from, to }) => `${from} ${to}`),
    ['main b'],
  )
})

test('Calls to an ended zone fail with a clear error, and the zone can send no more messages', async () => {
  const { exchange, call, say } = stand()
  const waits = say('a', { next: true })
  const asked = call('b', 'a')
  const { id } = JSON.parse(await waits) as { id: number }
  const refused = assert.rejects(asked, /Cannot call "a": its zone has ended/)
  exchange.end('a', 'its zone has ended')
  exchange.end('a', 'twice')
  await refused
  await assert.rejects(call('main', 'a'), /Cannot call "a": its zone has ended/)
  await assert.rejects(say('a', { reply: { id, value: 1 } }), /has none open/)
  await assert.rejects(say('a', { next: true }), /has none open/)
})

test('A zone can answer only calls handed to it: neither those of others nor those still queued', async () => {
  const { call, say, serve } = stand()
  const asked = call('main', 'a')
  await assert.rejects(say('b', { reply: { id: 1, value: 'forged' } }), /was not asked/)
  await assert.rejects(say('main', { reply: { id: 1, value: 'forged' } }), /was not asked/)
  await assert.rejects(say('a', { reply: { id: 1, value: 'early' } }), /was not asked/)
  assert.equal(await serve('a'), 1)
  await assert.rejects(say('a', { reply: { id: 1, value: 'twice' } }), /was not asked/)
  assert.equal(await asked, '{"value":1}')
})

test('Malformed messages are refused', async () => {
  const { exchange } = stand()
  const words = [
    '',
    '{',
    'null',
    '[]',
    '{"next":false}',
    '{"to":1,"args":[]}',
    '{"to":"a","args":[],"next":true}',
    '{"reply":{"id":-1}}',
    '{"reply":{"id":1,"error":{"isError":"yes"}}}',
    `${'['.repeat(5000)}${']'.repeat(5000)}`,
    '{"__proto__":{"next":true}}',
  ]
  for (const text of words) await assert.rejects(exchange.handle('a', text), /Cannot use a channel/)
})

test('A second concurrent request for the next call ends the first', async () => {
  const { say, call } = stand()
  const first = say('a', { next: true })
  const second = say('a', { next: true })
  assert.equal(await first, '{"over":true}')
  const asked = call('main', 'a')
  const { id } = JSON.parse(await second) as { id: number }
  await say('a', { reply: { id, value: 1 } })
  await asked
})

test('S2-18: of three channels one is closed, one limited in calls and rate, and one in data', async () => {
  let now = 0
  const notes: ChannelNote[] = []
  const exchange = new Exchange({
    permitted: new Map([['main', ['a', 'b', 'c']]]),
    limits: ({ to }) =>
      ({ a: { permit: false }, b: { permit: true, calls: 3, callsPerSecond: 2 } })[to] ?? {
        permit: true,
        units: 40,
      },
    now: () => now,
    note: (note) => notes.push(note),
  })
  const call = (to: string, args: unknown = 1) =>
    exchange.handle('main', JSON.stringify({ to, args }))
  const rejected: Promise<unknown>[] = []
  const send = (to: string, args?: unknown) => rejected.push(call(to, args).catch(() => undefined))
  await assert.rejects(call('a'), /its schedule closes this channel/)
  assert.deepEqual(
    exchange.open.map(({ to }) => to),
    ['b', 'c'],
  )
  send('b')
  send('b')
  await assert.rejects(call('b'), /carries 2 calls a second/)
  now = 500
  send('b')
  now = 60_000
  await assert.rejects(call('b'), /carries 3 calls/)
  send('c')
  await assert.rejects(call('c', 'x'.repeat(40)), /carries no more data/)
  assert.deepEqual(
    notes.map(({ to, what }) => `${to} ${what}`),
    ['a refused', 'b refused', 'b refused', 'c refused'],
  )
  for (const zone of ['a', 'b', 'c']) exchange.end(zone, 'over')
  await Promise.all(rejected)
})

test('S2-18: the strictest combination of the rules of a channel applies, in either order', () => {
  const rules = [
    { from: '*', to: '*', permit: true, calls: 10, for: 900 },
    { from: 'main', to: 'a', permit: true, calls: 20, callsPerSecond: 3, bytes: 5 },
    { from: '*', to: 'b', permit: false },
    { from: 'main', to: '*', permit: true, callsPerSecond: 2 },
  ]
  for (const all of [rules, rules.toReversed()]) {
    const a = channelLimits(all, { from: 'main', to: 'a' })
    assert.deepEqual(a, { permit: true, calls: 10, callsPerSecond: 2, units: 5, closesAt: 900 })
    assert.equal(channelLimits(all, { from: 'c', to: 'b' }).permit, false)
    assert.deepEqual(channelLimits(all, { from: 'c', to: 'd' }), {
      permit: true,
      calls: 10,
      closesAt: 900,
    })
  }
})
