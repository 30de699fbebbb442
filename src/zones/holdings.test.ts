import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allControls, meet, noNetwork, type Controls } from '../contract/controls.ts'
import type { Enforced } from '../contract/provider.ts'
import { Holdings } from './holdings.ts'

const without: Controls = { ...allControls, network: noNetwork }

/** Zones whose walls answer when they are let; what is asked of them, they hold. */
function stand(...zones: readonly string[]) {
  const holdings = new Holdings()
  const answers = new Map<string, PromiseWithResolvers<void>>()
  for (const zone of zones) {
    const answer = Promise.withResolvers<void>()
    answers.set(zone, answer)
    let has = allControls
    const tighten = async (to: Controls): Promise<Enforced> => {
      await answer.promise
      has = meet(has, to)
      return { controls: has, took: 1, unenforced: [] }
    }
    holdings.add(zone, { tighten }, allControls)
  }
  const lost = () =>
    [...holdings.standing].flatMap(([zone, { had, has }]) => (had === has ? [] : [zone]))
  return { holdings, lost, wall: (zone: string) => answers.get(zone)! }
}

/** What a promise has come to, once all that waits for nothing has happened. */
async function now<T>(promise: Promise<T>): Promise<T | 'waits'> {
  const soon = new Promise<'waits'>((resolve) => void setImmediate(resolve, 'waits'))
  return await Promise.race([promise, soon])
}

test('An order is held once its wall holds it and those beside it do too', async () => {
  const { holdings, lost, wall } = stand('main', 'a', 'b')
  holdings.begin()
  const [main, a] = [holdings.tighten('main', without), holdings.tighten('a', without)]
  wall('main').resolve()
  assert.equal(await now(main), 'waits')
  assert.deepEqual(lost(), ['main'])
  wall('a').resolve()
  assert.deepEqual((await main).controls.network, noNetwork)
  assert.deepEqual((await a).controls, holdings.has('a'))
  assert.deepEqual(lost(), ['main', 'a'])
  assert.deepEqual(holdings.has('b').network, allControls.network)
})

test('A wall that fails or never answers holds up no other, and still has what it had', async () => {
  const { holdings, lost, wall } = stand('main', 'fails', 'hangs')
  holdings.begin()
  const failing = assert.rejects(holdings.tighten('fails', without), /the wall is gone/)
  void holdings.tighten('hangs', without)
  const main = holdings.tighten('main', without)
  wall('main').resolve()
  wall('fails').reject(new Error('the wall is gone'))
  await Promise.all([main, failing])
  assert.deepEqual(lost(), ['main'])
  assert.deepEqual(holdings.asked('hangs').network, noNetwork)
  await assert.rejects(holdings.tighten('nobody', without), { code: 'NOT_FOUND' })
})

test('What was taken before the program began was lost by nobody', async () => {
  const { holdings, lost, wall } = stand('main', 'a')
  wall('main').resolve()
  wall('a').resolve()
  await holdings.tighten('main', without)
  assert.equal(holdings.standing.size, 0)
  holdings.begin()
  assert.deepEqual(lost(), [])
  assert.deepEqual(holdings.standing.get('main')?.had.network, noNetwork)
  await holdings.tighten('a', without)
  assert.deepEqual(lost(), ['a'])
})
