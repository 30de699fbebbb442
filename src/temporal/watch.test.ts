import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isAtLeast } from '../contract/anomaly.ts'
import { anomalous } from '../../tests/fixtures/traces/anomalous.ts'
import { benign } from '../../tests/fixtures/traces/benign.ts'
import { nothingForeseen, trace } from '../../tests/fixtures/traces/script.ts'
import { watched } from '../../tests/fixtures/traces/watched.ts'
import { look, noWatch } from './watch.ts'
import { defaultThresholds } from '../contract/thresholds.ts'

suite('S2-13: Anomalous programs are found', () => {
  for (const one of anomalous)
    test(`S2-13: found: ${one.name}`, () => {
      const { anomalies } = watched(one)
      const found = anomalies.filter(({ name }) => name === one.expects)
      assert(found.some(({ severity }) => isAtLeast(severity, 'medium')))
      assert(found.every(({ evidence }) => evidence.length > 0))
    })

  test('S2-13: There are twenty of them at least, for each detector one', () => {
    assert(anomalous.length >= 20)
    assert.equal(new Set(anomalous.map(({ expects }) => expects)).size, 12)
  })
})

suite('S2-14: Honest programs raise nothing above low', () => {
  for (const one of benign)
    test(`S2-14: nothing above low: ${one.name}`, () => {
      const above = watched(one).anomalies.filter(({ severity }) => isAtLeast(severity, 'medium'))
      assert.deepEqual(above, [])
    })

  test('S2-14: There are fifty of them at least', () => assert(benign.length >= 50))
})

const known = { foreseen: nothingForeseen, baseline: undefined, thresholds: defaultThresholds }

test('S2-12: An anomaly says in which zone it was made, and the whole is not told the same again', () => {
  const { anomalies } = watched(
    trace('', nothingForeseen, (t) => {
      t.zone = 'parse'
      t.exec('/bin/sh').exec('/bin/sh')
    }),
  )
  assert.deepEqual(
    anomalies.map(({ name, zone }) => [name, zone]),
    [['unforeseen-access', 'parse']],
  )
})

test('Refusals that are spread over many zones count for the whole', () => {
  const { anomalies } = watched(
    trace('', nothingForeseen, (t) => {
      for (let at = 0; at < 30; at++) {
        t.zone = `z${at}`
        t.wait(5).call('mail.send', true)
      }
    }),
  )
  const [burst] = anomalies.filter(({ name }) => name === 'denied-burst')
  assert.equal(burst?.zone, 'main')
})

test('What a guest says of itself is worth no more than low, and too much of it is left out', () => {
  const said = trace('', nothingForeseen, (t) => {
    t.trust = 'guest'
    for (let at = 0; at < 100; at++) t.syscall('kernel').exec(`/work/${at}`)
  })
  const { watch, anomalies } = watched(said)
  assert(anomalies.length > 0)
  assert(anomalies.every(({ severity, trust }) => severity === 'low' && trust === 'guest'))
  assert(watch.guest.dropped > 100)
})

test('A guest that says it has used nothing hides no growth that the host saw', () => {
  const grows = trace('', nothingForeseen, (t) => {
    for (let at = 1; at <= 60; at++) {
      t.wait(100).say({ kind: 'memory', bytes: at * 2 * 2 ** 20 })
      t.trust = 'guest'
      t.say({ kind: 'memory', bytes: 0 })
      t.trust = 'host'
    }
  })
  const found = watched(grows).anomalies.filter(({ name }) => name === 'memory-shape')
  assert.equal(found[0]?.trust, 'host')
})

test('The same anomaly is told again only where it is worse', () => {
  const one = (denied: number) => ({
    at: denied,
    zone: 'main',
    trust: 'host' as const,
    seen: { kind: 'capability' as const, name: 'mail.send', denied: true },
  })
  let watch = noWatch
  const severities: string[] = []
  for (let at = 0; at < 200; at++) {
    const looked = look(watch, one(at), known)
    watch = looked.watch
    const bursts = looked.anomalies.filter(({ name }) => name === 'denied-burst')
    severities.push(...bursts.map(({ severity }) => severity))
  }
  assert.deepEqual(severities, ['medium', 'high'])
})
