import assert from 'node:assert/strict'
import { after, before, suite, test, type TestContext } from 'node:test'
import type { Outcome } from '../../../src/contract/outcome.ts'
import { drawn } from '../../fixtures/drawn.ts'
import { machineState } from '../../fixtures/machine-images.ts'
import { sample, seed } from '../sample.ts'
import { processFamilies } from './case.ts'
import { uncontained } from './contained.ts'
import { processCorpus } from './corpus.ts'
import { sizeOf } from './left-behind.ts'
import { ProcessTrap } from './trap.ts'
import { openWalls, type WallName, type Walls } from './walls.ts'

/**
 * The corpus in guests with a kernel of their own, as an ordinary user of the guest and as its root. Each program takes a guest, so a
 * run has one program of two families, and the long run all. The guest's own kernel answers its system calls, so evidence on this
 * machine alone is an escape.
 */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const families = isLong ? processFamilies : sample(processFamilies, 2)
/** Layers that a program has passed once it has exploited its guest's kernel. */
const layersInside = ['guest user', 'apparmor']
/** Users of a guest, with the layers that are left out; a sample has one of them. */
const users = [
  ['user', []],
  ['root', layersInside],
] as const
/** Uid, and whether CAP_SYS_ADMIN is in the effective set. */
const credentials = `import json
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
result = [status["Uid"].split()[0], int(status["CapEff"], 16) >> 21 & 1]`

export async function hostileInGuests(
  wall: Extract<WallName, 'qemu' | 'user-mode-linux'>,
  missing: string | undefined,
): Promise<void> {
  const images = missing === undefined ? await machineState() : { missing }
  const skip = 'missing' in images ? images.missing : false
  const imageState = 'state' in images ? images.state : ''
  for (const [user, without] of drawn(users, 'users', users.length))
    suite(`Hostile programs, ${user} of a guest of ${wall}`, { skip }, () => {
      let trap: ProcessTrap
      let walls: Walls
      let first: Outcome
      before(async () => {
        trap = await ProcessTrap.set()
        walls = await openWalls({ imageState, without })
        const limits = { timeout: 60_000 }
        // Proves this wall alone; `absent` would prove all.
        first = await walls.run({ code: credentials, language: 'python', provider: wall, limits })
      })
      after(async () => {
        await walls[Symbol.asyncDispose]()
        await trap[Symbol.asyncDispose]()
      })
      /** Unless the wall is unavailable here. */
      const tries = (title: string, body: (t: TestContext) => Promise<void>): void =>
        void test(title, async (t) => {
          if (first.status === 'unavailable') return t.skip(first.error?.message ?? '')
          await body(t)
        })

      test(`A program of this suite is ${user} of its guest of ${wall}`, () => {
        const { status, result, error } = first
        assert.deepEqual(
          [status, result],
          ['ok', user === 'root' ? ['0', 1] : ['1000', 0]],
          error?.message ?? '',
        )
      })

      for (const family of families)
        tries(
          `Programs of the family "${family}", ${user} of their guest, are contained by ${wall}`,
          async () => {
            const cases = sample(processCorpus[family], isLong ? Infinity : 1)
            const field = { walls, wall, trap, onlySeen: true, isSlow: true } as const
            assert.deepEqual(await uncontained(field, cases), [], `seed ${seed}`)
          },
        )

      tries(
        `Walls of hostile programs, ${user} of a guest of ${wall}, leave nothing on this machine`,
        async (t) => {
          const left = await walls.close()
          t.diagnostic(`${walls.count} walls; left: ${JSON.stringify(left)}`)
          assert.ok(walls.count > 0)
          assert.equal(sizeOf(left), 0, JSON.stringify(left))
        },
      )
    })
}
