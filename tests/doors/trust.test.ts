import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { openLog } from '../../src/evidence/log-reader.ts'
import { Mayfly } from '../../src/index.ts'
import { makePlace } from './program.ts'

/** Trust in code before it runs, and the schedule chosen by it. */
const place = makePlace()
const state = join(place.state, 'library')
let library: Mayfly

before(async () => {
  const full = { name: 'full', for: '200ms' }
  // Longer than the delays of a busy machine, so that the phase is reported.
  const shut = { name: 'shut', for: '800ms', network: 'none', capabilities: 'none' } as const
  const schedules = { default: { phases: [full, shut], begin_at: { suspect: 'shut' } } }
  library = await Mayfly.open({ state, escalation: { 0: 'isolate' }, schedules })
})
after(async () => {
  await library.close()
  place.remove()
})

async function lifeOf(code: string) {
  const { id, timeline } = await library.run({ code })
  using log = openLog(join(state, 'audit.db'))
  const body = log
    .last(1000, id)
    .filter(({ kind }) => kind === 'admitted')
    .map((line) => JSON.parse(line.bodyText) as Record<string, Record<string, unknown>>)[0]
  return {
    phases: timeline.filter(({ event }) => event === 'phase').map(({ phase }) => phase),
    trust: body?.['security']?.['trust'],
    begins: body?.['plan']?.['schedule'],
  }
}

suite('Trust in code before it runs', () => {
  test('S2-2: decides the first phase of its run, and both are in the record', async () => {
    assert.deepEqual(await lifeOf('for (;;) await null'), {
      phases: ['full', 'shut'],
      trust: 'plain',
      begins: { name: 'default', begins: 'full' },
    })
    const suspect = 'this.constructor.constructor("return process")(); for (;;) await null'
    assert.deepEqual(await lifeOf(suspect), {
      phases: ['shut'],
      trust: 'suspect',
      begins: { name: 'default', begins: 'shut' },
    })
  })
})
