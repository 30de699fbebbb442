import assert from 'node:assert/strict'
import { inNode, inPython } from '../conformance/guests-of-programs.ts'
import { makeMicroVm, makeOwnKernelWalls, noMachines, whyNoImages } from '../conformance/microvm.ts'
import { messageIn, type GuestLanguage, type Made } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { createUserKernelProvider } from '../../src/tiers/userkernel/provider.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'
import { standOf } from './wall-lives.ts'
import { type LimitCase, diskCases, ownError } from './wall-programs.ts'

/** Programs that use up their disk or their processes in a guest, by the counts of its kernel, and programs that do not. */

const crowded: LimitCase['ends'] = ['limit', 'PROCESSES']
const forks = (times: number) => `import os, time
for n in range(${times}):
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)`

const cases: readonly LimitCase[] = [
  ...diskCases,
  { name: 'Python forks on', of: inPython, code: forks(1000), ends: crowded },
  {
    name: 'Python forks on, and handles it',
    of: inPython,
    code: `${forks(1000).replace('for', 'try:\n  for').replaceAll('\n    ', '\n      ')}\nexcept OSError: print('handled')\nelse: 1 / 0`,
    ends: ['ok', undefined],
  },
  {
    name: 'Python forks near its bound, and fails for another reason',
    of: inPython,
    code: `${forks(14)}\n1 / 0`,
    ends: ownError,
  },
  {
    name: 'Node, with one process, works in its threads and fails for another reason',
    of: inNode,
    code: `import { pbkdf2 } from 'node:crypto'
const hash = (n) => new Promise((done) => pbkdf2('a', 'b', 1000, 32, 'sha256', done))
await Promise.all(Array.from({ length: 32 }, hash))
throw new TypeError('own')`,
    ends: ownError,
    controls: { processes: 1 },
  },
]

const guests = [
  {
    name: 'a machine',
    skip: noMachines,
    make: (language: GuestLanguage['language']) => makeMicroVm({}, language),
  },
  {
    name: 'a user-mode kernel',
    skip: isUserKernelThere() ? whyNoImages() : noUserKernel,
    make: (language: GuestLanguage['language']) =>
      makeOwnKernelWalls(createUserKernelProvider, {}, { language }),
  },
]

for (const { name: guest, skip = false, make } of guests)
  suite(`Limits of programs in ${guest}`, { skip, timeout: 1_800_000 }, () => {
    const made = new Map<string, Made>()
    before(async () => {
      for (const language of ['python', 'sh', 'node'] as const)
        made.set(language, await make(language))
    })
    after(async () => {
      for (const { close } of made.values()) await close()
    })

    for (const { name, of, code, ends, controls } of cases)
      test(`in ${guest}: ${name}: ${ends.join(' ')}`, async () => {
        const stand = standOf(made.get(of.language)!, of)
        const wish = { controls: { processes: 16, ...controls }, limits: { timeout: 240_000 } }
        const { end } = await stand.run(code, { ...wish, entry: 'program' })
        assert.deepEqual([end.status, end.error?.code], ends, messageIn(end))
        if (end.status === 'limit') assert.equal(end.isReported, true, 'the guest alone counts it')
      })
  })
