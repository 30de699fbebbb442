import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allControls, meet, noNetwork, type Controls } from '../contract/controls.ts'
import type { Enforced } from '../contract/provider.ts'
import { ZoneControls } from './zone-controls.ts'

const without: Controls = { ...allControls, network: noNetwork }

/** Zones whose walls enforce orders on demand. */
function stand(...zones: readonly string[]) {
  const holdings = new ZoneControls()
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
    [...holdings.rights].flatMap(([zone, { had, has }]) => (had === has ? [] : [zone]))
  return { holdings, lost, wall: (zone: string) => answers.get(zone)! }
}

/** Settled value of a promise after pending microtasks, or `waits`. */
async function now<T>(promise: Promise<T>): Promise<T | 'waits'> {
  const soon = new Promise<'waits'>((resolve) => void setImmediate(resolve, 'waits'))
  return await Promise.race([promise, soon])
}

test('A tighten order resolves once its wall and all concurrent orders enforce it', async () => {
  const { holdings, lost, wall } = stand('main', 'a', 'b')
  holdings.begin()
  const [main, a] = [holdings.tighten('main', without), holdings.tighten('a', without)]
  wall('main').resolve()
  assert.equal(await now(main), 'waits')
  assert.deepEqual(lost(), ['main'])
  wall('a').resolve()
  assert.deepEqual((await main).controls.network, noNetwork)
  assert.deepEqual((await a).controls, holdings.enforced('a'))
  assert.deepEqual(lost(), ['main', 'a'])
  assert.deepEqual(holdings.enforced('b').network, allControls.network)
})

test('A failing or silent wall blocks no other, and keeps its old controls', async () => {
  const { holdings, lost, wall } = stand('main', 'fails', 'hangs')
  holdings.begin()
  const failing = assert.rejects(holdings.tighten('fails', without), /the wall is gone/)
  void holdings.tighten('hangs', without)
  const main = holdings.tighten('main', without)
  wall('main').resolve()
  wall('fails').reject(new Error('the wall is gone'))
  await Promise.all([main, failing])
  assert.deepEqual(lost(), ['main'])
  assert.deepEqual(holdings.ordered('hangs').network, noNetwork)
  await assert.rejects(holdings.tighten('nobody', without), { code: 'NOT_FOUND' })
})

test('Rights taken before the program starts do not count as lost', async () => {
  const { holdings, lost, wall } = stand('main', 'a')
  wall('main').resolve()
  wall('a').resolve()
  await holdings.tighten('main', without)
  assert.equal(holdings.rights.size, 0)
  holdings.begin()
  assert.deepEqual(lost(), [])
  assert.deepEqual(holdings.rights.get('main')?.had.network, noNetwork)
  await holdings.tighten('a', without)
  assert.deepEqual(lost(), ['a'])
})
