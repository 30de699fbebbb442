import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { Provider } from '../../src/contract/provider.ts'
import { createQemuProvider } from '../../src/tiers/microvm/provider.ts'
import { createUserKernelProvider } from '../../src/tiers/userkernel/provider.ts'
import { tryWalls, type WallTrialResult } from '../../src/walls/trials/try-walls.ts'
import { makeOwnKernelWalls, noMachines, whyNoImages } from '../conformance/microvm.ts'
import type { Made } from '../conformance/stand.ts'
import { isSampled } from '../fixtures/drawn.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

const triesMax = 6
/** The trials of `mayfly doctor`, on walls whose programs have a kernel and an image of their own. */
const languages = isSampled ? (['python'] as const) : (['node', 'python'] as const)
const tiers = [
  ['microvm', createQemuProvider, noMachines],
  ['userkernel', createUserKernelProvider, isUserKernelThere() ? whyNoImages() : noUserKernel],
] as const

for (const [tier, create, why] of tiers)
  for (const language of languages)
    suite(`The trials of the doctor on ${tier}`, { skip: why ?? false }, () => {
      let made: Made
      before(async () => {
        made = await makeOwnKernelWalls(create, {}, { language })
        const found = await made.provider.detect()
        assert.ok(found.available)
      })
      after(() => made.close())

      test(`S4-33: each trial in ${language} on ${tier} holds: the files of the image are not those of this machine`, async () => {
        const results = await tried(made.provider)
        const names = ['network', 'files', 'memory', 'cpu', 'processes', 'time', 'kernel']
        names.push('artifacts', 'secrets', 'leftovers')
        assert.deepEqual(
          results.map(({ wall, held, how }) => (held ? wall : `${wall}: ${how}`)),
          names.map((name) => `${language}: ${name}`),
        )
      })
    })

/** Results of trials, those tried again whose guest ran out of time: on a busy machine, that tells nothing of its wall. */
async function tried(provider: Provider): Promise<readonly WallTrialResult[]> {
  const found = new Map<string, WallTrialResult>()
  const isLate = ({ how }: WallTrialResult) => how.includes('ended as timeout')
  for (let tries = 1; tries <= triesMax; tries++) {
    for (const one of await tryWalls(provider)) {
      const last = found.get(one.wall)
      if (!last || isLate(last)) found.set(one.wall, one)
    }
    if (![...found.values()].some(isLate)) break
  }
  return [...found.values()]
}
