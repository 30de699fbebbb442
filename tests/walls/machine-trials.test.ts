import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { createQemuProvider } from '../../src/tiers/microvm/provider.ts'
import { createUserKernelProvider } from '../../src/tiers/userkernel/provider.ts'
import { tryWalls } from '../../src/walls/trials/try-walls.ts'
import { makeOwnKernelWalls, noMachines, whyNoImages } from '../conformance/microvm.ts'
import type { Made } from '../conformance/stand.ts'
import { isSampled } from '../fixtures/drawn.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

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
        const results = await tryWalls(made.provider)
        const names = ['network', 'files', 'memory', 'cpu', 'processes', 'time', 'kernel']
        names.push('artifacts', 'secrets', 'leftovers')
        assert.deepEqual(
          results.map(({ wall, held }) => [wall, held]),
          names.map((name) => [`${language}: ${name}`, true]),
        )
      })
    })
