import assert from 'node:assert/strict'
import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import { makeMicroVm, makeOwnKernelWalls, noMachines, whyNoImages } from '../conformance/microvm.ts'
import { messageIn, Stand, type GuestLanguage, type Made, type Wish } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { createUserKernelProvider } from '../../src/tiers/userkernel/provider.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

/** Programs that use up their disk or their processes in a guest, by the counts of its kernel, and programs that do not. */

interface Case {
  readonly name: string
  readonly of: GuestLanguage
  readonly code: string
  readonly ends: readonly [status: string, code: string | undefined]
  readonly controls?: Wish['controls']
}

const full: Case['ends'] = ['limit', 'DISK']
const crowded: Case['ends'] = ['limit', 'PROCESSES']
const ownError: Case['ends'] = ['error', 'USER_ERROR']
const fills = `f = open('/work/big', 'wb', 0)
try:
    while True: f.write(bytes(1 << 20))`
const forks = (times: number) => `import os, time
for n in range(${times}):
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)`

const cases: readonly Case[] = [
  { name: 'Python fills it', of: inPython, code: `${fills}\nfinally: pass`, ends: full },
  {
    name: 'Python fills it, and exits without a report',
    of: inPython,
    code: `import os\n${fills}\nexcept OSError: os._exit(3)`,
    ends: full,
  },
  {
    name: 'a child of a shell fills /tmp',
    of: inShell,
    code: 'dd if=/dev/zero of=/tmp/big bs=1M 2>/dev/null',
    ends: full,
  },
  {
    name: 'Python fills it and goes on',
    of: inPython,
    code: `${fills}\nexcept OSError: print('handled')`,
    ends: ['ok', undefined],
  },
  {
    name: 'Python nearly fills it, and fails for another reason',
    of: inPython,
    code: `open('/work/big', 'wb').write(bytes(60 << 20))\n1 / 0`,
    ends: ownError,
  },
  {
    name: 'Python only says so',
    of: inPython,
    code: `import errno\nraise OSError(errno.ENOSPC, 'No space left on device')`,
    ends: ownError,
  },
  { name: 'Python forks on', of: inPython, code: forks(1000), ends: crowded },
  {
    name: 'Python forks on, and handles it',
    of: inPython,
    code: `${forks(1000).replace('for', 'try:\n  for').replaceAll('\n    ', '\n      ')}\nexcept OSError: print('handled')`,
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
        const { provider } = made.get(of.language)!
        const stand = new Stand(provider, () => Promise.reject(new Error('no other')), of)
        const wish = { controls: { processes: 16, ...controls }, limits: { timeout: 240_000 } }
        const { end } = await stand.run(code, { ...wish, entry: 'program' })
        assert.deepEqual([end.status, end.error?.code], ends, messageIn(end))
        if (end.status === 'limit') assert.equal(end.isReported, true, 'the guest alone counts it')
      })
  })
