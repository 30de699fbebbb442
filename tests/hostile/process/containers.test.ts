import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { drawn, test } from '../../fixtures/drawn.ts'
import { openPodman, withoutPodman, type Podman } from '../../fixtures/podman.ts'
import { inParallel, sample, seed } from '../sample.ts'
import { processFamilies, type ProcessFamily } from './case.ts'
import { whyNotContained } from './contained.ts'
import { processCorpus } from './corpus.ts'
import { ProcessTrap } from './trap.ts'
import { openWalls } from './walls.ts'

/** Hostile programs in containers of rootless Podman. Part of the long run: each takes a second to start and to remove. */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const skip = withoutPodman() || (!isLong && 'the long run takes it')
const atATime = 3

suite('Hostile programs in containers', { skip }, () => {
  let podman: Podman
  let trap: ProcessTrap
  before(async () => {
    podman = openPodman()
    await podman.serve()
    process.env['CONTAINER_HOST'] = `unix://${podman.socket}`
    trap = await ProcessTrap.set()
  })
  after(async () => {
    await trap?.[Symbol.asyncDispose]()
    await podman?.[Symbol.asyncDispose]()
  })

  test('are contained by podman (S4-51)', async (t) => {
    await using walls = await openWalls()
    assert.equal(await walls.absent('podman'), undefined)
    const cases = drawn(processFamilies, 'podman', 1).flatMap(casesOf)
    assert.ok(cases.length > 0)
    const leaked: string[] = []
    await inParallel(cases, atATime, async (hostile) => {
      const why = await whyNotContained({ walls, wall: 'podman', trap }, hostile)
      if (why) leaked.push(`${hostile.family} ${hostile.name}: ${why}`)
    })
    t.diagnostic(`| podman | ${cases.length} | ${leaked.length} |`)
    assert.deepEqual(leaked, [], `seed ${seed}`)
  })
})

function casesOf(family: ProcessFamily) {
  return sample(
    processCorpus[family].filter(({ over, quick }) => !over && !quick),
    Infinity,
  )
}
