import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import type { Anomaly } from '../contract/anomaly.ts'
import { fullBuckets, takeToken } from './token-buckets.ts'
import {
  type AnomalyAction,
  fullLimits,
  react,
  type ReactionLimits,
  type ReactionRules,
  rates,
} from './react.ts'
import { openRaisedFloors } from './raised-floors.ts'

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
const rules: ReactionRules = {
  onAnomaly: { low: 'record', medium: 'advance', high: 'capture' },
  webhookFrom: 'medium',
  strongerFrom: 'high',
  strongerForMs: 1000,
}
const acme = { tenant: 'acme', code: 'c1' }

/** Actions for the same anomaly repeated `times` times. */
function often(times: number, who = acme, from: ReactionLimits = fullLimits, found = anomaly) {
  let reactions = from
  const actions: AnomalyAction[] = []
  for (let at = 0; at < times; at++) {
    const turn = react(reactions, found, rules, who, 0)
    reactions = turn.reactions
    actions.push(...turn.actions)
  }
  const of = (kind: AnomalyAction['kind']) => actions.filter((one) => one.kind === kind)
  return { reactions, of }
}

suite('Reactions', () => {
  test("Follow the schedule's map, and always leave a record", () => {
    const { actions } = react(fullLimits, { ...anomaly, severity: 'medium' }, rules, acme, 0)
    assert.deepEqual(
      actions.map(({ kind }) => kind),
      ['record', 'life', 'webhook'],
    )
    const { actions: low } = react(fullLimits, { ...anomaly, severity: 'low' }, rules, acme, 0)
    assert.deepEqual(low, [{ kind: 'record', anomaly: { ...anomaly, severity: 'low' } }])
  })

  test('A capture over its rate limit still ends the life', () => {
    const { of } = often(10)
    const lives = of('life').map((one) => one.kind === 'life' && one.reaction)
    assert.equal(lives.filter((one) => one === 'capture').length, rates.capture.code.burst)
    assert.equal(lives.filter((one) => one === 'terminate').length, 10 - rates.capture.code.burst)
  })

  test('Ending or tightening the own life is never limited', () => {
    const ends: ReactionRules = { ...rules, onAnomaly: { ...rules.onAnomaly, high: 'terminate' } }
    let { reactions } = often(50)
    for (let time = 0; time < 100; time++) {
      const turn = react(reactions, anomaly, ends, acme, 0)
      reactions = turn.reactions
      assert(turn.actions.some((one) => one.kind === 'life' && one.reaction === 'terminate'))
    }
  })

  test('A code cannot exhaust the webhooks of its tenant, nor a tenant those of another', () => {
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

  test('Milder anomalies of a code or tenant suppress no webhook of a worse one', () => {
    const mild = { ...anomaly, severity: 'medium' } as const
    let { reactions } = often(1000, acme, fullLimits, mild)
    for (let code = 0; code < 100; code++)
      ({ reactions } = often(20, { ...acme, code: `d${code}` }, reactions, mild))
    assert.equal(often(1, acme, reactions, mild).of('webhook').length, 0)
    assert.equal(often(1, acme, reactions).of('webhook').length, 1)
  })

  test("A guest's own statements raise no floor", () => {
    const { actions } = react(fullLimits, { ...anomaly, trust: 'guest' }, rules, acme, 0)
    assert(!actions.some(({ kind }) => kind === 'stronger'))
  })
})

suite('A rate limit', () => {
  const many = { tenant: { burst: 5, everyMs: 100 }, code: { burst: 2, everyMs: 1000 } }

  test('Is bounded for any input, and never exceeds its rate', () => {
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
        let allowance = fullBuckets
        let at = 0
        const taken = new Map<string, number>()
        for (const { gap, ...who } of asked) {
          at += gap
          const turn = takeToken(allowance, who, many, at)
          allowance = turn.allowance
          if (turn.taken) taken.set(who.tenant, (taken.get(who.tenant) ?? 0) + 1)
        }
        for (const count of taken.values()) assert(count <= 5 + at / 100)
        for (const { codes } of allowance.values()) assert(codes.size <= 257)
      }),
    )
  })

  test('Refills with time', () => {
    const spent = Array.from({ length: 5 }).reduce<typeof fullBuckets>(
      (so) => takeToken(so, acme, many, 0).allowance,
      fullBuckets,
    )
    assert.equal(takeToken(spent, acme, many, 0).taken, false)
    assert.equal(takeToken(spent, acme, many, 1000).taken, true)
  })
})

suite('A raised floor', () => {
  const floor = { strength: 3, until: 1000, because: 'an earlier run: Too many' } as const

  test('Holds with its reason for this tenant and code until it expires', () => {
    const store = openRaisedFloors(':memory:')
    store.raise(acme, floor)
    assert.deepEqual(store.floor(acme, 999), floor)
    assert.equal(store.floor(acme, 1000), undefined)
    assert.equal(store.floor({ ...acme, tenant: 'other' }, 0), undefined)
    store.close()
  })

  test('Is never lowered or shortened by a later one', () => {
    const store = openRaisedFloors(':memory:')
    store.raise(acme, floor)
    store.raise(acme, { ...floor, strength: 1, until: 10 })
    assert.deepEqual([store.floor(acme, 20)?.strength, store.floor(acme, 20)?.until], [3, 1000])
    store.close()
  })

  test('Is kept for a bounded number of codes per tenant', () => {
    const store = openRaisedFloors(':memory:', 2)
    for (const code of ['a', 'b', 'c'])
      store.raise({ tenant: 'acme', code }, { ...floor, until: code.charCodeAt(0) })
    assert.equal(store.floor({ tenant: 'acme', code: 'a' }, 0), undefined)
    assert.equal(store.floor({ tenant: 'acme', code: 'c' }, 0)?.until, 99)
    store.close()
  })
})
