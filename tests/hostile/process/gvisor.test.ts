import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { isRunscThere, noRunsc } from '../../conformance/gvisor.ts'
import { restsAfterwards } from '../proc.ts'
import { sample, seed } from '../sample.ts'
import { processFamilies } from './case.ts'
import { uncontained } from './contained.ts'
import { processCorpus } from './corpus.ts'
import { ProcessTrap } from './trap.ts'
import { openWalls, type Walls } from './walls.ts'

/**
 * The corpus on a kernel in user space, in the long run alone: it starves what runs beside it on a small machine. Calls
 * that such a kernel answers are no escape, so only evidence of this machine counts.
 */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const skip = isRunscThere() ? !isLong && 'the long run takes it' : noRunsc

suite('Hostile programs on gvisor', { skip }, () => {
  let trap: ProcessTrap
  let walls: Walls
  before(async () => {
    trap = await ProcessTrap.set()
    walls = await openWalls()
  })
  after(async () => {
    await walls[Symbol.asyncDispose]()
    await trap[Symbol.asyncDispose]()
  })

  for (const family of processFamilies)
    test(`Every process program of the family "${family}" is contained by gvisor (S4-27)`, async (t) => {
      const absent = await walls.absent('gvisor')
      if (absent) return t.skip(absent)
      const cases = sample(processCorpus[family], Infinity)
      const field = { walls, wall: 'gvisor', trap, onlySeen: true } as const
      assert.deepEqual(await uncontained(field, cases), [], `seed ${seed}`)
    })

  test('Afterwards, no process burns CPU', restsAfterwards)
})
