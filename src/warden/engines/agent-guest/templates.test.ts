import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { MayflyError } from '../../../contract/error.ts'
import {
  sharedMs,
  Templates,
  type TemplateBounds,
  type TemplatesParts,
  type TemplateUse,
} from './templates.ts'

/** Made of nothing. */
interface Played {
  readonly number: number
  isBroken: boolean
}

suite('Templates', () => {
  test('A template is made once for all that ask for its key, however many ask at once', async () => {
    const { templates, made } = stand()
    const found = await Promise.all([templates.use('a'), templates.use('a'), templates.use('b')])
    assert.deepEqual(found, [made[0], made[0], made[1]])
    assert.equal(await templates.use('a'), made[0])
    assert.equal(made.length, 2)
  })

  test('A template that was used often enough, or is old, is used until its successor is made, and removed then', async () => {
    const { templates, made, removed, clock, notes } = stand({ usesMax: 2 })
    const gate = Promise.withResolvers<void>()
    for (let use = 0; use < 2; use++) {
      assert.equal(await templates.use('a'), made[0])
      clock.gate = gate.promise
    }
    await turn()
    assert.equal(await templates.use('a'), made[0])
    assert.deepEqual(removed, [])
    gate.resolve()
    await turn()
    assert.equal(await templates.use('a'), made[1])
    assert.deepEqual(removed, [made[0]])
    assert.deepEqual(notes, ['a template is replaced: it was used 2 times'])
    const aged = stand({ ageMsMax: 600_000 })
    await aged.templates.use('a')
    aged.clock.now = 600_000
    assert.equal(await aged.templates.use('a'), aged.made[0])
    await turn()
    assert.equal(await aged.templates.use('a'), aged.made[1])
    assert.deepEqual(aged.notes, ['a template is replaced: it is 10 minutes old'])
  })

  test('A broken template is never used: it is removed, reported and rebuilt', async () => {
    const { templates, made, removed, notes } = stand()
    const first = await templates.use('a')
    first.isBroken = true
    assert.equal(await templates.use('a'), made[1])
    templates.drop('a', first, 'late')
    assert.equal(await templates.use('a'), made[1])
    templates.drop('a', made[1]!, 'it does not restore')
    assert.equal(await templates.use('a'), made[2])
    assert.deepEqual(removed, [made[0], made[1]])
    assert.deepEqual(notes, [
      'a template is given up: it is broken',
      'a template is given up: it does not restore',
    ])
  })

  test('A failed build is reported to each caller, and retried after its back-off', async () => {
    const { templates, made, clock, fail, notes } = stand({ retryMs: 50 })
    fail.isOn = true
    await assert.rejects(templates.use('a'), { code: 'UNAVAILABLE' })
    fail.isOn = false
    await assert.rejects(templates.use('a'), { code: 'UNAVAILABLE' })
    clock.now = 50
    assert.equal(await templates.use('a'), made[0])
    assert.deepEqual(notes, ['a template could not be made: Cannot make it'])
  })

  test('A template beyond the limit replaces the least recently used one', async () => {
    const { templates, made, removed, clock } = stand({ countMax: 2 })
    for (const key of ['a', 'b', 'a', 'c']) {
      clock.now++
      await templates.use(key)
    }
    assert.deepEqual(removed, [made[1]])
    await templates.close()
    assert.deepEqual(new Set(removed), new Set(made))
    await assert.rejects(templates.use('a'), { code: 'DRAINING' })
  })

  test('A template that was used once goes before one that others share, however long ago that was', async () => {
    const { templates, made, removed, clock } = stand({ countMax: 3 })
    for (const key of ['a', 'a', 'b', 'c', 'd', 'e']) {
      clock.now++
      await templates.use(key)
    }
    assert.deepEqual(removed, [made[1], made[2]])
    assert.equal(await templates.use('a'), made[0])
  })

  test('Templates that nobody has used for long go before one that was used once', async () => {
    const { templates, made, removed, clock } = stand({ countMax: 2 })
    for (const key of ['a', 'a', 'b', 'b']) await templates.use(key)
    clock.now = sharedMs
    for (const key of ['c', 'd', 'c']) {
      clock.now++
      await templates.use(key)
    }
    assert.deepEqual(removed, [made[0], made[1]])
    assert.equal(made.length, 4)
  })

  test('A close keeps complete templates with age and uses, and a kept one is used before another is built', async () => {
    const kept: (TemplateUse & { readonly template: Played })[] = []
    const keep = { keep: async (one: (typeof kept)[number]) => void kept.push(one) }
    const first = stand({ usesMax: 3, ageMsMax: 600_000 }, keep)
    await first.templates.use('a')
    const broken = await first.templates.use('b')
    broken.isBroken = true
    for (let use = 0; use < 3; use++) await first.templates.use('c')
    await turn()
    first.clock.now = 50
    await first.templates.use('c')
    await first.templates.close()
    const [a, c] = kept
    assert.deepEqual(kept.length, 2)
    assert.deepEqual([a?.ageMs, a?.uses], [50, 1])
    assert.deepEqual([c?.ageMs, c?.uses], [50, 1])
    assert.ok(first.removed.includes(broken))
    const second = stand({ usesMax: 3 }, { recall: async () => ({ ...a!, uses: 2 }) })
    assert.equal(await second.templates.use('a'), a!.template)
    await turn()
    assert.equal(await second.templates.use('a'), second.made[0])
    assert.deepEqual(second.notes, ['a template is replaced: it was used 3 times'])
  })

  test('A close waits for those that are being made, and removes them', async () => {
    const { templates, made, removed } = stand()
    const using = templates.use('a')
    await templates.close()
    await using
    assert.deepEqual(removed, made)
  })
})

type Keeping = Pick<TemplatesParts<string, Played>, 'keep' | 'recall'>

function stand(bounds: Partial<TemplateBounds> = {}, keeping: Keeping = {}) {
  const made: Played[] = []
  const removed: Played[] = []
  const notes: string[] = []
  const clock = { now: 0, gate: Promise.resolve() }
  const fail = { isOn: false }
  const templates = new Templates<string, Played>({
    nameOf: (key) => key,
    make: async () => {
      await clock.gate
      if (fail.isOn) throw new MayflyError('UNAVAILABLE', 'Cannot make it')
      const one = { number: made.length, isBroken: false }
      made.push(one)
      return one
    },
    remove: (one) => Promise.resolve(void removed.push(one)),
    whyBroken: ({ isBroken }) => (isBroken ? 'it is broken' : undefined),
    note: (cause) => notes.push(cause),
    now: () => clock.now,
    bounds,
    ...keeping,
  })
  return { templates, made, removed, notes, clock, fail }
}
