import assert from 'node:assert/strict'
import { join } from 'node:path'
import { Mayfly, type Outcome } from '../../src/index.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { makePlace } from './program.ts'

/**
 * Race of a job's first statement against its limits: a sandbox is prepared with other limits and gets those of its job at
 * the claim. Each program uses up one limit before it does anything else, which must take it as far as after a pause.
 */
const walls = ['bubblewrap', 'embedded', 'gvisor', 'user-mode-linux', 'qemu'] as const
const limits = [
  { processes: 4, disk: '2MB' },
  { processes: 6, disk: '3MB' },
  { processes: 9, disk: '4MB' },
  { processes: 13, disk: '5MB' },
] as const
const pause = 'import time; time.sleep(0.5)\n'

/** Forks until it is refused or ended, with a dot for each. */
const forks = `import os
read, write = os.pipe()
try:
    for count in range(60):
        if os.fork() == 0:
            os.read(read, 1)
            os._exit(0)
        os.write(1, b'.')
except OSError: pass
os.write(write, b'x' * count)`

/** Fills the disk until it is refused or ended, with a dot for each 64 KiB. */
const fills = `import os
fd = os.open('filler', os.O_CREAT | os.O_WRONLY)
try:
    while os.write(fd, b'x' * 65536) == 65536: os.write(1, b'.')
except OSError: pass`

suite('S1-14: limits are in force before the first statement', { timeout: 1_800_000 }, () => {
  const place = makePlace()
  const state = join(place.state, 'library')
  let available: readonly string[]
  let mayfly: Mayfly
  before(async () => {
    await copyMachineState(state)
    // Sixteen machines under emulation, on a busy machine.
    mayfly = await Mayfly.open({ state, server: { queue_wait: '30m' } })
    available = (await mayfly.providers())
      .filter(({ availability }) => availability.available)
      .map(({ provider }) => provider.name)
  })
  after(async () => {
    await mayfly.close()
    place.remove()
  })

  for (const provider of walls)
    test(`${provider}: jobs that start at once reach their own limits of processes and disk, and no more than after a pause`, async (t) => {
      if (!available.includes(provider)) return t.skip(`${provider} is not available`)
      const run = async (code: string, own: object) => {
        const asked = { memory: '256MB', timeout: '120s', ...own }
        const outcome = await mayfly.run({ code, language: 'python', provider, limits: asked })
        assert.match(outcome.stdout, /^\.+$/, JSON.stringify(outcome.error))
        return outcome
      }
      const bothOf = async ({ processes, disk }: (typeof limits)[number], before = '') => {
        const ran = [run(before + forks, { processes }), run(before + fills, { disk })]
        const [forked, filled] = (await Promise.all(ran)) as [Outcome, Outcome]
        // Tasks behind gVisor are watched: a job above its limit is ended, some forks later.
        const forksOf = provider === 'gvisor' ? forked.error?.code : forked.stdout.length
        return [forksOf, filled.stdout.length] as const
      }
      const alone: (readonly [string | number | undefined, number])[] = []
      for (const own of limits) alone.push(await bothOf(own, pause))
      const [most] = alone.at(-1)!
      assert.ok(provider === 'gvisor' ? most === 'PROCESSES' : most! > alone[0]![0]!)
      assert.ok(alone.at(-1)![1] > alone[0]![1])
      const reached = await Promise.all([...limits, ...limits].map((own) => bothOf(own)))
      assert.deepEqual(reached, [...alone, ...alone])
    })
})
