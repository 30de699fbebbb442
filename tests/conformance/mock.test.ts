import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { KillCause, Task } from '../../src/contract/provider.ts'
import { createMockProvider } from '../../src/tiers/mock/provider.ts'
import type { ScriptStep } from '../../src/tiers/mock/script.ts'
import { guestsInJs as guests, floodBytes, type GuestNameInJs } from './guests.ts'
import { inJs, inTime, Stand } from './stand.ts'
import { conformance } from './suite.ts'

conformance('mock, playing the guests', async () => ({
  provider: createMockProvider({ script: play }),
  close: () => Promise.resolve(),
}))

suite('A wall that releases its guest late or never', () => {
  const causes: readonly KillCause[] = [{ status: 'cancelled' }, { status: 'timeout' }]
  for (const release of ['never', 60_000] as const)
    test(`a wall that releases ${release === 'never' ? 'never' : 'in a minute'} ends when it is killed`, async () => {
      for (const cause of causes) {
        const provider = createMockProvider({ script: play, faults: { release } })
        const stand = new Stand(provider, noSecond, inJs)
        await using sandbox = await stand.launch()
        const running = stand.begin(sandbox, guests.speaks)
        sandbox.kill(cause)
        assert.equal((await inTime(running.end, 'the end')).status, cause.status)
        assert.deepEqual([running.releases(), running.stdout()], [0, ''])
      }
    })
})

/** Scripted steps of each guest. */
function play(task: Task): readonly ScriptStep[] {
  const name = (Object.keys(guests) as GuestNameInJs[]).find((key) => guests[key] === task.code)
  return name ? plays(task)[name] : []
}

function plays(task: Task): Record<GuestNameInJs, readonly ScriptStep[]> {
  const lines = Array.from({ length: 200 }, (_, n): ScriptStep => {
    const text = `line ${n}\n`
    return n % 2 === 1 ? { stderr: text } : { stdout: text }
  })
  return {
    echo: [{ result: JSON.parse(task.inputText) as unknown }],
    speaks: [...lines, { result: 200 }],
    floods: [{ spam: floodBytes }, { result: 'flooded' }],
    spins: [{ stdout: 'spinning\n' }],
    waits: [{ stdout: 'waiting\n' }],
    throws: [{ error: { code: 'USER_ERROR', name: 'TypeError', message: 'this went wrong' } }],
    ticks: [],
    asks: [],
  }
}

function noSecond(): never {
  throw new Error('There is one provider here')
}
