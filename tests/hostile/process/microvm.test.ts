import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { machineState } from '../../fixtures/machine-images.ts'
import { isQemuThere, noQemu } from '../../walls/qemu-here.ts'
import { sample, seed } from '../sample.ts'
import { processFamilies } from './case.ts'
import { uncontained } from './contained.ts'
import { processCorpus } from './corpus.ts'
import { ProcessTrap } from './trap.ts'
import { openWalls, type Walls } from './walls.ts'

/**
 * The corpus in machines: two programs in each run, all in the long one, since each takes a machine. Calls that the guest's own
 * kernel answers are no escape, so only evidence of this machine counts.
 */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const found = isQemuThere() ? await machineState() : { missing: noQemu }
const skip = 'missing' in found ? found.missing : false
const families = isLong ? processFamilies : sample(processFamilies, 2)

suite('Hostile programs in machines', { skip }, () => {
  let trap: ProcessTrap
  let walls: Walls
  before(async () => {
    trap = await ProcessTrap.set()
    walls = await openWalls('state' in found ? { imageState: found.state } : {})
  })
  after(async () => {
    await walls[Symbol.asyncDispose]()
    await trap[Symbol.asyncDispose]()
  })

  for (const family of families)
    test(`Process programs of the family "${family}" are contained by a machine`, async (t) => {
      const absent = await walls.absent('qemu')
      if (absent) return t.skip(absent)
      const cases = sample(processCorpus[family], isLong ? Infinity : 1)
      const field = { walls, wall: 'qemu', trap, onlySeen: true } as const
      assert.deepEqual(await uncontained(field, cases), [], `seed ${seed}`)
    })
})
