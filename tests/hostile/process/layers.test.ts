import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { layers, type Layer } from '../../../src/jail/facts.ts'
import { openCgroups } from '../../../src/os/cgroup.ts'
import { inParallel, sample, seed } from '../sample.ts'
import { processFamilies, type ProcessCase, type ProcessFamily } from './case.ts'
import { whyNotContained, type Field } from './contained.ts'
import { processCorpus } from './corpus.ts'
import { ProcessTrap } from './trap.ts'
import { openWalls, wallNames, type WallName } from './walls.ts'

/**
 * Hostile programs with one layer of the jail left out (S4-39): either the others hold them, or the wall is refused as
 * too weak and they never run.
 */
const perFamily = process.env['MAYFLY_LONG'] === undefined ? 1 : 8
const atATime = 3

/** What is about the layer itself: the kernel's entry points are shut by the filter alone. */
const aboutItself: Partial<Record<Layer, readonly ProcessFamily[]>> = {
  seccomp: ['kernel', 'tracing', 'namespaces', 'sockets', 'privilege'],
}

let trap: ProcessTrap
const absent = new Map<WallName, string>()
before(async () => {
  trap = await ProcessTrap.set()
  await using walls = await openWalls()
  for (const wall of wallNames) absent.set(wall, (await walls.absent(wall)) ?? '')
})
after(() => trap[Symbol.asyncDispose]())

for (const wall of wallNames)
  suite(`Hostile programs on ${wall} with any one layer off`, () => {
    for (const layer of layers)
      test(`The layer "${layer}" of ${wall} is off (S4-39)`, async (t) => {
        const missing = absent.get(wall) || lastOne(layer)
        if (missing) return t.skip(missing)
        await using walls = await openWalls({ without: [layer] })
        const refused = await refusal({ walls, wall, trap })
        if (refused) return t.diagnostic(`refused: ${refused}`)
        const found: string[] = []
        await inParallel(casesWithout(layer), atATime, async (hostile) => {
          const why = await whyNotContained({ walls, wall, trap }, hostile)
          if (why) found.push(`${hostile.family} ${hostile.name}: ${why}`)
        })
        assert.deepEqual(found, [], `seed ${seed}`)
      })
  })

/** Why such a wall runs nothing; undefined when it does run. */
async function refusal({ walls, wall }: Field): Promise<string | undefined> {
  const job = { code: 'exit 0', language: 'sh', provider: wall } as const
  const { status, metrics, error } = await walls.run(job)
  if (status === 'ok') return undefined
  assert.equal(metrics.executionTime, 0)
  assert.match(status, /^(?:unavailable|blocked)$/)
  return error?.code
}

function casesWithout(layer: Layer): readonly ProcessCase[] {
  const families = processFamilies.filter((family) => !aboutItself[layer]?.includes(family))
  return families.flatMap((family) => sample(processCorpus[family].filter(runsBeside), perFamily))
}

/** What is measured from outside runs alone, in the whole corpus. */
function runsBeside({ over, quick }: ProcessCase): boolean {
  return !over && !quick
}

function lastOne(layer: Layer): string | undefined {
  return layer === 'memory watch' && !openCgroups()
    ? 'no control groups for this user: the watch is the one layer that holds memory'
    : undefined
}
