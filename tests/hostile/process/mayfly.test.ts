import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isSampled } from '../../fixtures/drawn.ts'
import { ordinaryFollows } from '../../fixtures/half.ts'
import { restsAfterwards } from '../proc.ts'
import { sample, seed } from '../sample.ts'
import { processFamilies } from './case.ts'
import { uncontained } from './contained.ts'
import { processCorpus } from './corpus.ts'
import { nobody, ProcessTrap } from './trap.ts'
import { openWalls, wallNames, type WallName, type Walls } from './walls.ts'

/**
 * The corpus on process walls, by every jail implementation. A seeded sample runs unless MAYFLY_LONG is set;
 * MAYFLY_SEED repeats one.
 */
const long = process.env['MAYFLY_LONG'] !== undefined
const perFamily = long ? Infinity : isSampled ? 1 : 5
const isRoot = process.getuid?.() === 0

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

for (const wall of wallNames)
  suite(`Hostile programs on ${wall}`, () => {
    for (const family of processFamilies)
      test(`Every process program of the family "${family}" is contained by ${wall} (S4-39)`, async (t) => {
        const absent = await walls.absent(wall)
        if (absent) return t.skip(absent)
        const cases = sample(processCorpus[family], perFamily)
        assert.deepEqual(await uncontained({ walls, wall, trap }, cases), [], `seed ${seed}`)
      })
    test(`Afterwards, ${wall} still answers, and no process burns CPU`, async (t) => {
      const absent = await walls.absent(wall)
      if (absent) return t.skip(absent)
      await answers(wall)
      await restsAfterwards()
    })
  })

test('An ordinary user’s walls contain them too (S4-39)', async (t) => {
  if (!isRoot) return t.skip('this is an ordinary user already')
  if (ordinaryFollows) return t.skip(ordinaryFollows)
  const absent = await Promise.all(wallNames.map((wall) => walls.absent(wall)))
  if (absent.every(Boolean)) return t.skip(absent.join(', '))
  const { code, text } = await asNobody()
  assert.equal(code, 0, text)
  // The test itself, and those unavailable to root too: no other may have been skipped.
  const perWall = processFamilies.length + 1
  const leftOut = Number(/^ℹ skipped (\d+)$/m.exec(text)?.[1])
  assert.equal(leftOut, 1 + absent.filter(Boolean).length * perWall, text)
})

async function answers(wall: WallName): Promise<void> {
  const code = `import json, os, sys; os.write(3, json.dumps(json.load(sys.stdin) + 1).encode())`
  const outcome = await walls.run({
    code,
    language: 'python',
    entry: 'program',
    provider: wall,
    input: 1,
  })
  assert.deepEqual([outcome.status, outcome.result], ['ok', 2])
}

/** Repeats this file as an unprivileged user. */
async function asNobody(): Promise<{ readonly code: number; readonly text: string }> {
  const child = spawn(process.execPath, ['--test', fileURLToPath(import.meta.url)], {
    uid: nobody,
    gid: nobody,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: '/nonexistent',
      MAYFLY_SEED: `${seed}`,
      ...(long && { MAYFLY_LONG: '1' }),
    },
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code: code ?? -1, text: text.slice(-20_000) }
}
