import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { openLog } from '../../src/evidence/log-reader.ts'
import type { Event } from '../../src/contract/event.ts'
import type { Provider } from '../../src/contract/provider.ts'
import { Mayfly, outcomeSchema, type JobRequest } from '../../src/index.ts'
import { createMockProvider } from '../../src/tiers/mock/provider.ts'
import { makePlace } from './program.ts'

const place = makePlace()
const state = join(place.state, 'library')
const events: Event[] = []
let library: Mayfly

/** Provider of another tier that doubles its input for any code. */
const doubling: Provider = {
  ...createMockProvider({
    script: (task) => [{ stdout: 'said\n' }, { result: Number(task.inputText) * 2 }],
  }),
  name: 'doubling',
  tier: 'gvisor',
  detect: async () => ({ available: true, strength: 4, layers: [], missing: [] }),
}

before(async () => {
  const sinks = [(event: Event) => void events.push(event)]
  library = await Mayfly.open({ state }, { providers: [doubling], sinks })
})
after(async () => {
  await library.close()
  place.remove()
})

const run = (more: Partial<JobRequest>) =>
  library.run({ code: 'console.log("said"); return input * 2', input: 2, ...more })

suite('Shadow mode', () => {
  test('A job is run on a second tier too, and the results are equal', async () => {
    const outcome = await run({ shadow: 'gvisor' })
    const { status, result, tier, shadow } = outcome
    assert.deepEqual([status, result, tier], ['ok', 4, 'isolate'])
    assert.deepEqual([shadow?.ran, shadow?.same, shadow?.tier], [true, true, 'gvisor'])
    assert.deepEqual(outcomeSchema.parse(outcome), outcome)
  })

  test('Differences are in the outcome and in an event, and the first result is returned', async () => {
    const { id, result, shadow } = await run({
      code: 'console.log("said"); return input + 3',
      shadow: 'gvisor',
    })
    assert.equal(result, 5)
    assert.deepEqual(shadow?.differences, [{ field: 'result', first: '5', second: '4' }])
    const told = events.find(({ point, run }) => point === 'shadow/compared' && run === id)
    assert.deepEqual(told?.fields, {
      shadow: shadow?.id,
      tier: 'gvisor',
      provider: 'mock',
      same: false,
      differs: ['result'],
    })
  })

  test('The second run has its own lines in the record, and the comparison has one', async () => {
    const { id, shadow } = await run({ shadow: 'gvisor' })
    using log = openLog(join(state, 'audit.db'))
    const kinds = (of: string | undefined) => log.last(1000, of ?? '').map(({ kind }) => kind)
    assert.deepEqual(kinds(id), ['admitted', 'ended', 'event'])
    assert.deepEqual(kinds(shadow?.id), ['admitted', 'ended'])
  })

  test('A shadow tier that is unavailable or below the floor is reported, and the first result is returned', async () => {
    const none = await run({ shadow: 'microvm' })
    assert.deepEqual([none.status, none.shadow?.ran], ['ok', false])
    assert.match(none.shadow?.because ?? '', /no available provider is tier "microvm"/)
    const weak = await run({ shadow: 'isolate', floor: 'gvisor' })
    assert.deepEqual([weak.tier, weak.shadow?.status], ['gvisor', 'blocked'])
  })

  test('A batch is compared call by call', async () => {
    const { shadow } = await library.batch(
      { code: 'console.log("said"); return input === 2 ? 0 : input * 2', shadow: 'gvisor' },
      [1, 2, 3],
    )
    assert.deepEqual(shadow?.differences, [
      { field: 'calls', path: '/1/result', first: '0', second: '4' },
    ])
  })
})
