import assert from 'node:assert/strict'
import { after, before, suite, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { anomalyNames } from '../../src/contract/anomaly.ts'
import { seeded } from '../../src/tiers/mock/seeded.ts'
import { test } from '../fixtures/drawn.ts'
import {
  judge,
  openStand,
  programsIn,
  type Judged,
  type Program,
  type Stand,
} from '../fixtures/programs.ts'

/**
 * Real programs through the whole pipeline: one of each detector and a tenth of the honest, the same each time, so that a change
 * is judged; others with another `MAYFLY_SEED`, all with `MAYFLY_LONG=1`.
 */
const folder = fileURLToPath(new URL('../../bench/programs', import.meta.url))
const all = programsIn(folder)
const odd = all.filter(({ expects }) => expects)
const honest = all.filter(({ expects }) => !expects)
const seed = Number(process.env['MAYFLY_SEED'] ?? 1)
const chance = seeded(seed)
const isLong = process.env['MAYFLY_LONG'] !== undefined

suite(
  'Anomalous and honest programs on real walls',
  { skip: process.platform !== 'linux' && 'programs need Linux' },
  () => {
    let stand: Stand
    before(async () => {
      stand = await openStand()
    })
    after(() => stand[Symbol.asyncDispose]())

    async function lived(program: Program, t: TestContext) {
      const judged = judge(program, await stand.run(program))
      t.diagnostic(`seed ${seed}: ${judged.why}`)
      if (judged.kind !== 'skipped') return judged
      assert.notEqual(process.env['CI'], 'true', `${program.name}: ${judged.why}`)
      t.skip(judged.why)
      return undefined
    }

    for (const program of ofEachDetector())
      test(`S2-13: ${program.expects} finds ${program.name}, ${program.language}`, async (t) => {
        let judged = await lived(program, t)
        // Load of other work makes regular gaps irregular, and interrupts programs that burn CPU.
        for (let again = 0; again < 5 && isUneven(program, judged); again++)
          judged = judge(program, await stand.run(program))
        if (judged) assert.equal(judged.kind, 'found', judged.why)
      })

    test('S2-14: a planted secret that a program sends to an allowed host does not arrive', async (t) => {
      const program = odd.find(({ name }) => name === 'sends-a-token')!
      const ran = await stand.run(program)
      if (ran.kind === 'skipped') {
        assert.notEqual(process.env['CI'], 'true', ran.why)
        return t.skip(ran.why)
      }
      assert.equal(judge(program, ran).kind, 'found', judge(program, ran).why)
      assert.deepEqual(ran.kind === 'ran' && ran.heard, [])
    })

    for (const program of some(honest))
      test(`S2-14: ${program.name}, ${program.language}, raises nothing above low`, async (t) => {
        const judged = await lived(program, t)
        if (judged)
          assert.equal(judged.kind, 'calm', `${judged.why} ${JSON.stringify(judged.found)}`)
      })
  },
)

function isUneven({ expects }: Program, judged: Judged | undefined): boolean {
  return (expects === 'beaconing' || expects === 'cpu-shape') && judged?.kind === 'missed'
}

test('S2-13: The corpus has twenty anomalous programs, at least one per detector, and fifty honest ones', () => {
  assert.ok(odd.length >= 20 && honest.length >= 50)
  assert.deepEqual(
    [...new Set(odd.map(({ expects }) => expects!))].sort(),
    [...anomalyNames].sort(),
  )
  const walls = new Set(odd.map(({ language, asks }) => asks['wall'] ?? language))
  for (const wall of ['bubblewrap', 'embedded', 'js']) assert.ok(walls.has(wall), wall)
})

function ofEachDetector(): readonly Program[] {
  if (isLong) return odd
  return anomalyNames.flatMap((name) => {
    const its = odd.filter(({ expects }) => expects === name)
    return its.slice(Math.floor(chance() * its.length)).slice(0, 1)
  })
}

function some(programs: readonly Program[]): readonly Program[] {
  if (isLong) return programs
  const left = [...programs]
  const count = Math.ceil(programs.length / 10)
  return Array.from({ length: count }).flatMap(() =>
    left.splice(Math.floor(chance() * left.length), 1),
  )
}
