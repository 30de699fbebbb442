import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import type { Anomaly } from '../contract/anomaly.ts'
import { noAllowance, take } from './allowance.ts'
import { type Action, noReactions, react, type Reactions, type Rules, rates } from './react.ts'
import { openStrongerStore } from './stronger-store.ts'

const anomaly: Anomaly = {
  name: 'denied-burst',
  severity: 'high',
  zone: 'main',
  at: 0,
  trust: 'host',
  subject: 'refusals',
  reason: 'Too many',
  evidence: [],
}
const rules: Rules = {
  onAnomaly: { low: 'record', medium: 'advance', high: 'capture' },
  webhookFrom: 'medium',
  strongerFrom: 'high',
  strongerForMs: 1000,
}
const acme = { tenant: 'acme', code: 'c1' }

/** The kinds of what is done about the same anomaly so many times at once. */
function often(times: number, who = acme, from: Reactions = noReactions) {
  let reactions = from
  const actions: Action[] = []
  for (let at = 0; at < times; at++) {
    const turn = react(reactions, anomaly, rules, who, 0)
    reactions = turn.reactions
    actions.push(...turn.actions)
  }
  const of = (kind: Action['kind']) => actions.filter((one) => one.kind === kind)
  return { reactions, of }
}

suite('Reactions', () => {
  test('Follow the map of the schedule, and always leave a line', () => {
    const { actions } = react(noReactions, { ...anomaly, severity: 'medium' }, rules, acme, 0)
    assert.deepEqual(
      actions.map(({ kind }) => kind),
      ['record', 'life', 'webhook'],
    )
    const { actions: low } = react(noReactions, { ...anomaly, severity: 'low' }, rules, acme, 0)
    assert.deepEqual(low, [{ kind: 'record', anomaly: { ...anomaly, severity: 'low' } }])
  })

  test('A code that is captured too often is ended all the same', () => {
    const { of } = often(10)
    const lives = of('life').map((one) => one.kind === 'life' && one.reaction)
    assert.equal(lives.filter((one) => one === 'capture').length, rates.capture.code.burst)
    assert.equal(lives.filter((one) => one === 'terminate').length, 10 - rates.capture.code.burst)
  })

  test('Ending or tightening its own life is never refused', () => {
    const ends: Rules = { ...rules, onAnomaly: { ...rules.onAnomaly, high: 'terminate' } }
    let { reactions } = often(50)
    for (let time = 0; time < 100; time++) {
      const turn = react(reactions, anomaly, ends, acme, 0)
      reactions = turn.reactions
      assert(turn.actions.some((one) => one.kind === 'life' && one.reaction === 'terminate'))
    }
  })

  test('One code cannot use up the webhooks of its tenant, nor a tenant those of another', () => {
    const one = often(1000)
    assert.equal(one.of('webhook').length, rates.webhook.code.burst)
    const other = often(1, { ...acme, code: 'c2' }, one.reactions)
    assert.equal(other.of('webhook').length, 1)
    let { reactions } = one
    for (let code = 0; code < 100; code++)
      ({ reactions } = often(20, { ...acme, code: `d${code}` }, reactions))
    assert.equal(often(1, { ...acme, code: 'e' }, reactions).of('webhook').length, 0)
    assert.equal(often(1, { tenant: 'other', code: 'c1' }, reactions).of('webhook').length, 1)
  })

  test('What a guest says of itself gets nobody a dearer wall', () => {
    const { actions } = react(noReactions, { ...anomaly, trust: 'guest' }, rules, acme, 0)
    assert(!actions.some(({ kind }) => kind === 'stronger'))
  })
})

suite('An allowance', () => {
  const many = { tenant: { burst: 5, everyMs: 100 }, code: { burst: 2, everyMs: 1000 } }

  test('Is bounded, whatever asks and when, and never gives more than its rate', () => {
    const asking = fc.array(
      fc.record({
        tenant: fc.constantFrom('a', 'b'),
        code: fc.nat(2000).map(String),
        gap: fc.nat(50),
      }),
      { maxLength: 400 },
    )
    fc.assert(
      fc.property(asking, (asked) => {
        let allowance = noAllowance
        let at = 0
        const taken = new Map<string, number>()
        for (const { gap, ...who } of asked) {
          at += gap
          const turn = take(allowance, who, many, at)
          allowance = turn.allowance
          if (turn.taken) taken.set(who.tenant, (taken.get(who.tenant) ?? 0) + 1)
        }
        for (const count of taken.values()) assert(count <= 5 + at / 100)
        for (const { codes } of allowance.tenants.values()) assert(codes.size <= 257)
      }),
    )
  })

  test('Comes back with time', () => {
    const spent = Array.from({ length: 5 }).reduce<typeof noAllowance>(
      (so) => take(so, acme, many, 0).allowance,
      noAllowance,
    )
    assert.equal(take(spent, acme, many, 0).taken, false)
    assert.equal(take(spent, acme, many, 1000).taken, true)
  })
})

suite('A stronger wall for the next runs', () => {
  const floor = { strength: 3, until: 1000, because: 'an earlier run: Too many' } as const

  test('Is a floor with a reason, for this tenant and code, until it lapses', () => {
    const store = openStrongerStore(':memory:')
    store.raise(acme, floor)
    assert.deepEqual(store.floor(acme, 999), floor)
    assert.equal(store.floor(acme, 1000), undefined)
    assert.equal(store.floor({ ...acme, tenant: 'other' }, 0), undefined)
    store.close()
  })

  test('Is never lowered or cut short by a later word', () => {
    const store = openStrongerStore(':memory:')
    store.raise(acme, floor)
    store.raise(acme, { ...floor, strength: 1, until: 10 })
    assert.deepEqual([store.floor(acme, 20)?.strength, store.floor(acme, 20)?.until], [3, 1000])
    store.close()
  })

  test('Is kept for so many codes of a tenant and no more', () => {
    const store = openStrongerStore(':memory:', 2)
    for (const code of ['a', 'b', 'c'])
      store.raise({ tenant: 'acme', code }, { ...floor, until: code.charCodeAt(0) })
    assert.equal(store.floor({ tenant: 'acme', code: 'a' }, 0), undefined)
    assert.equal(store.floor({ tenant: 'acme', code: 'c' }, 0)?.until, 99)
    store.close()
  })
})
