import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { inParallel, sample, seedOfCounts as seed } from '../sample.ts'
import { processFamilies, type ProcessCase, type ProcessFamily } from './case.ts'
import { processCorpus } from './corpus.ts'
import { makePen } from './pen.ts'
import { bitePlain } from './plain.ts'
import { ProcessTrap } from './trap.ts'

/**
 * The corpus against a plain child process as `nobody`, in typical use. A corpus that does not break it proves
 * nothing. A fixed sample runs unless MAYFLY_LONG is set; MAYFLY_SEED selects another.
 */
const long = process.env['MAYFLY_LONG'] !== undefined
const perFamily = long ? Infinity : 3
const atATime = 2
/** A full run found 213 of 400; the number depends on what the kernel allows unprivileged users. */
const bittenMin = long ? 120 : 12

const honest: ProcessCase = {
  name: 'honest',
  family: 'result',
  because: 'a control: the measure must report a contained program as contained',
  language: 'python',
  code: `os.write(3, json.dumps({'sum': 3}).encode()); open('out/a', 'w').write('a'); print('hello')`,
  gives: { sum: 3 },
}

let trap: ProcessTrap
before(async () => {
  trap = await ProcessTrap.set()
})
after(() => trap[Symbol.asyncDispose]())

test('An honest program is contained: the measure has no false positives', async (t) => {
  const absent = missing()
  if (absent) return t.skip(absent)
  assert.equal(await bitePlain(honest, trap), undefined)
})

test('The process corpus breaks a plain child process as nobody (S4-39)', async (t) => {
  const absent = missing()
  if (absent) return t.skip(absent)
  const cases = processFamilies.flatMap((family) => sample(processCorpus[family], perFamily, seed))
  const bitten = new Map<ProcessCase, string | undefined>()
  await inParallel(cases, atATime, async (hostile) => {
    bitten.set(hostile, await bitePlain(hostile, trap))
  })
  for (const line of table(bitten)) t.diagnostic(line)
  const count = [...bitten.values()].filter(Boolean).length
  assert.ok(count >= bittenMin, `${count} of ${cases.length}, seed ${seed}`)
})

/** A child of another user needs root, and the machine's survival needs cgroups. */
function missing(): string | undefined {
  if (process.platform !== 'linux') return 'this is not Linux'
  if (process.getuid?.() !== 0) return 'only root starts a process as nobody'
  const pen = makePen()
  void pen?.[Symbol.asyncDispose]()
  return pen ? undefined : 'there are no control groups to survive the corpus in'
}

type Bitten = ReadonlyMap<ProcessCase, string | undefined>

function table(bitten: Bitten): readonly string[] {
  const tally = (family?: ProcessFamily): string => {
    const cases = [...bitten].filter(([hostile]) => !family || hostile.family === family)
    return `${(family ?? 'all').padEnd(12)} ${cases.filter(([, why]) => why).length} of ${cases.length}`
  }
  const details = long
    ? [...bitten].map(([{ family, name }, why]) => `${family} ${name}: ${why ?? 'contained'}`)
    : []
  return [`not contained, seed ${seed}:`, ...processFamilies.map(tally), tally(), ...details]
}
