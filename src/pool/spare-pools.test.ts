import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../contract/clock.ts'
import { createSparePools } from './spare-pools.ts'

/** Pools of images, with their emitted events. */
function stand() {
  const told: string[] = []
  let walls = 0
  const live = new Set<number>()
  const emitter = {
    emit: (point: string, fields: { readonly key?: string; readonly because?: string }) =>
      void told.push([point, fields.key, fields.because ?? ''].join(' ').trim()),
  }
  const stock = createSparePools(systemClock, emitter)
  const poolOf = (key: string, image?: string) =>
    stock.createPool({
      key,
      image,
      least: 1,
      most: 2,
      start: () => {
        const id = ++walls
        live.add(id)
        return Promise.resolve({
          bytes: 10,
          get alive() {
            return live.has(id)
          },
          end: () => Promise.resolve(live.delete(id)),
        })
      },
    })
  return { stock, poolOf, told, live }
}

const turn = () => new Promise<void>((resolve) => void setImmediate(resolve))

test('S0-5: the spares of a replaced image are ended, and no others', async () => {
  const { stock, poolOf, told, live } = stand()
  const pools = [poolOf('old', 'a'), poolOf('new', 'b'), poolOf('host'), poolOf('too', 'a')]
  for (const pool of pools) pool.fill()
  await turn()
  assert.deepEqual([...live], [1, 2, 3, 4])
  stock.dropImage('a')
  await turn()
  for (const pool of pools) pool.fill()
  await turn()
  assert.deepEqual([...live], [2, 3])
  assert.deepEqual(
    told.filter((one) => one.startsWith('pool/drained')),
    ['pool/drained old changed', 'pool/drained too changed'],
  )
  for (const pool of pools) await pool.close()
  assert.equal(live.size, 0)
})

test('A closed pool is not counted', async () => {
  const { stock, poolOf } = stand()
  const [one, two] = [poolOf('one', 'a'), poolOf('two', 'a')]
  await one.close()
  assert.deepEqual(
    stock.facts.map(({ key }) => key),
    ['two'],
  )
  await two.close()
})
