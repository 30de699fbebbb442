import assert from 'node:assert/strict'
import { after, before, suite, test as always } from 'node:test'
import { layers, type JailLayer } from '../../../src/jail/facts.ts'
import { openCgroups } from '../../../src/os/cgroup.ts'
import { drawn, makeDraw, test } from '../../fixtures/drawn.ts'
import { inParallel, sample, seed } from '../sample.ts'
import { processFamilies, type ProcessCase, type ProcessFamily } from './case.ts'
import { whyNotContained, type Field } from './contained.ts'
import { processCorpus } from './corpus.ts'
import { ProcessTrap } from './trap.ts'
import { openWalls, wallNames, type WallName } from './walls.ts'

/**
 * Hostile programs with one layer of the jail left out (S4-39, S4-40): the others contain them. The product
 * would refuse most of these walls as too weak, so its proof is left out too. MAYFLY_LONG runs the whole
 * corpus.
 */
const perFamily = process.env['MAYFLY_LONG'] === undefined ? 1 : Infinity
const atATime = 3
/** Share of the families of a layer in a sample. */
const oneOf = 14

/**
 * Without the filter these calls reach the kernel and are answered: that is the layer's own effect. All other
 * evidence still counts: files, canaries, listeners, host processes.
 */
const aboutTheFilter: readonly ProcessFamily[] = [
  'kernel',
  'tracing',
  'namespaces',
  'sockets',
  'privilege',
]

/** Hidden by that layer alone: host name, other users, other processes. None of it is a reach. */
const hiddenBy: Partial<Record<JailLayer, readonly string[]>> = {
  namespaces: ['name-of-the-host', 'no-user-of-the-host', 'everybody-is-there'],
}

/** Layers without which the product runs nothing in a wall. */
const needed: readonly JailLayer[] = ['seccomp', 'memory watch']

/** Layers that bubblewrap can lack: there is no Landlock in it, and no bubblewrap without namespaces. */
const ofBubblewrap = layers.filter((one) => one !== 'landlock' && one !== 'namespaces')
let trap: ProcessTrap
const absent = new Map<WallName, string>()
before(async () => {
  trap = await ProcessTrap.set()
  await using walls = await openWalls()
  for (const wall of wallNames) absent.set(wall, (await walls.absent(wall)) ?? '')
})
after(() => trap[Symbol.asyncDispose]())

for (const wall of wallNames) {
  suite(`Hostile programs on ${wall} with any one layer off`, () => {
    for (const layer of wall === 'bubblewrap' ? ofBubblewrap : layers)
      test(`The layer "${layer}" of ${wall} is off (S4-39, S4-40)`, async (t) => {
        const missing = absent.get(wall) || noSuchWall(layer)
        if (missing) return t.skip(missing)
        await using walls = await openWalls({ without: [layer], unproved: true })
        const field = { walls, wall, trap }
        await answers(field)
        const leaked: string[] = []
        const families = drawn(processFamilies, `${wall} ${layer}`, oneOf)
        const cases = families.flatMap((family) => sampleOf(family, layer))
        await inParallel(cases, atATime, async (hostile) => {
          const why = await whyNotContained({ ...field, ...judging(layer, hostile) }, hostile)
          if (why) leaked.push(`${hostile.family} ${hostile.name}: ${why}`)
        })
        t.diagnostic(`| ${wall} | ${layer} | ${cases.length} | ${leaked.length} |`)
        assert.deepEqual(leaked, [], `seed ${seed}`)
      })
  })

  suite(`Refusal of ${wall} without a required layer`, () => {
    const isDrawn = makeDraw(`refusals of ${wall}`, needed.length)
    for (const layer of needed.filter(() => isDrawn()))
      always(`Without "${layer}" ${wall} runs nothing (S4-40)`, async (t) => {
        const missing = absent.get(wall)
        if (missing) return t.skip(missing)
        await using walls = await openWalls({ without: [layer] })
        const job = { code: 'echo ran', language: 'sh', provider: wall } as const
        const { status, stdout, metrics } = await walls.run(job)
        assert.match(status, /^(?:unavailable|blocked)$/)
        assert.equal(stdout, '')
        assert.equal(metrics.executionTime, 0)
      })
  })
}

/** Checks that the wall works at all. */
async function answers({ walls, wall }: Field): Promise<void> {
  const job = { code: 'console.log("out")', language: 'node', provider: wall } as const
  const { status, stdout, error } = await walls.run(job)
  assert.deepEqual([status, stdout, error], ['ok', 'out\n', undefined])
}

function judging(layer: JailLayer, { family }: ProcessCase): Pick<Field, 'onlySeen'> {
  return { onlySeen: layer === 'seccomp' && aboutTheFilter.includes(family) }
}

/** Cases measured from outside run alone, in the whole corpus. */
function sampleOf(family: ProcessFamily, layer: JailLayer): readonly ProcessCase[] {
  const runs = ({ name, over, quick }: ProcessCase): boolean =>
    !over && !quick && !hiddenBy[layer]?.includes(name)
  return sample(processCorpus[family].filter(runs), perFamily)
}

function noSuchWall(layer: JailLayer): string | undefined {
  return layer === 'memory watch' && !openCgroups()
    ? 'no control groups for this user: the watch is the one layer that holds memory'
    : undefined
}
