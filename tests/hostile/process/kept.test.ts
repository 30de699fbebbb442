import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { findJailFacts } from '../../../src/jail/facts.ts'
import { drawn, test } from '../../fixtures/drawn.ts'
import { inParallel, sample, seed } from '../sample.ts'
import { processFamilies, type ProcessCase, type ProcessFamily } from './case.ts'
import { whyNotContained } from './contained.ts'
import { processCorpus } from './corpus.ts'
import { ProcessTrap } from './trap.ts'
import { openWalls } from './walls.ts'

/**
 * Hostile programs where namespaces are forbidden, as a product: in walls that a keeper holds. MAYFLY_LONG runs the whole
 * corpus on each of them.
 */
const perFamily = process.env['MAYFLY_LONG'] === undefined ? 1 : Infinity
const atATime = 3
/** Share of the families in a sample. */
const oneOf = 14
/** Only namespaces hide these: host name, other users, other processes. None of it is a reach. */
const hiddenBy: ReadonlySet<string> = new Set([
  'name-of-the-host',
  'no-user-of-the-host',
  'everybody-is-there',
])
/** Checked by access(2), which Landlock does not restrict if uid 0 acts as an ordinary user: the file is not opened. */
const seenByUid0: ReadonlySet<string> = new Set(['become-root', 'scheduled'])
const hosts: Readonly<Record<string, readonly string[]>> = {
  'with all else': ['namespaces'],
  'for an ordinary user without control groups': ['namespaces', 'root', 'cgroup'],
  'with a Landlock that does not hold signals': ['namespaces', 'root', 'cgroup', 'landlock scopes'],
}
const skip = findJailFacts().landlock < 3 && 'Landlock of this kernel does not hold files'

let trap: ProcessTrap
before(async () => {
  if (!skip) trap = await ProcessTrap.set()
})
after(() => trap?.[Symbol.asyncDispose]())

suite('Hostile programs where namespaces are forbidden', { skip }, () => {
  for (const [host, hide] of Object.entries(hosts))
    test(`are contained ${host}`, async (t) => {
      await using walls = await openWalls({ hide })
      const field = { walls, wall: 'embedded', trap } as const
      const job = { code: 'console.log("out")', language: 'node', provider: 'embedded' } as const
      const { status, stdout, error } = await walls.run(job)
      assert.deepEqual([status, stdout, error], ['ok', 'out\n', undefined])
      const cases = drawn(processFamilies, host, oneOf).flatMap((family) => sampleOf(family, hide))
      const leaked: string[] = []
      await inParallel(cases, atATime, async (hostile) => {
        const why = await whyNotContained(field, hostile)
        if (why) leaked.push(`${hostile.family} ${hostile.name}: ${why}`)
      })
      t.diagnostic(`| ${host} | ${cases.length} | ${leaked.length} |`)
      assert.deepEqual(leaked, [], `seed ${seed}`)
    })
})

/** Cases measured from outside run alone, in the whole corpus. */
function sampleOf(family: ProcessFamily, hide: readonly string[]): readonly ProcessCase[] {
  const isUid0 = process.getuid?.() === 0 && hide.includes('root')
  const runs = ({ name, over, quick }: ProcessCase) =>
    !over && !quick && !hiddenBy.has(name) && !(isUid0 && seenByUid0.has(name))
  return sample(processCorpus[family].filter(runs), perFamily)
}
