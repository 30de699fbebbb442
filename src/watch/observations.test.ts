import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { points, type Event, type Point } from '../contract/event.ts'
import { seenKinds, seenSchema } from '../contract/anomaly.ts'
import { defaultThresholds, stricterThresholds, thresholdNames } from '../contract/thresholds.ts'
import { bytesEntropyOf } from './entropy.ts'
import { observationOf } from './observations.ts'

const event = (point: Point, fields: Event['fields'], trust: Event['trust'] = 'host'): Event => ({
  format: 1,
  seq: 1,
  at: 0,
  run: 'exec_1',
  zone: 'main',
  point,
  actor: 'wall',
  trust,
  fields,
})

suite('Observations from events', () => {
  test('Walls report at points of their own, one per kind', () => {
    const said = points.filter((point) => point.startsWith('seen/'))
    assert.deepEqual(said.map((point) => point.slice('seen/'.length)).sort(), [...seenKinds].sort())
    const seen = observationOf(event('seen/exec', { path: '/bin/sh' }, 'wall'), 7)
    assert.deepEqual(seen, {
      at: 7,
      zone: 'main',
      trust: 'wall',
      seen: { kind: 'exec', path: '/bin/sh', denied: false },
    })
  })

  test('Egress and capability events are converted too', () => {
    const out = observationOf(
      event('egress/denied', { host: 'a.example', port: 443, because: 'x' }),
      0,
    )
    assert.deepEqual(out?.seen, {
      kind: 'connect',
      host: 'a.example',
      port: 443,
      sent: 0,
      received: 0,
      denied: true,
    })
    const opened = observationOf(event('egress/allowed', { host: 'a.example', port: 443 }), 0)
    assert(opened?.seen.kind === 'connect' && opened.seen.part === 'opened')
    const call = observationOf(event('capability/denied', { capability: 'mail.send' }), 0)
    assert.deepEqual(call?.seen, { kind: 'capability', name: 'mail.send', denied: true })
    assert.equal(observationOf(event('phase/opened', { phase: 'full' }), 0), undefined)
  })

  test('Control characters are replaced, long text is cut, and a path keeps its end', () => {
    const long = `/work/${'x'.repeat(4000)}/.ssh/id_rsa\u001b[2J`
    const seen = observationOf(event('seen/open', { path: long, access: 'read' }), 0)?.seen
    assert(seen?.kind === 'open' && seen.path.length === 300)
    assert.match(seen.path, /\/\.ssh\/id_rsa\uFFFD\[2J$/)
  })

  test('Any event fields give a valid observation or none', () => {
    const point = fc.constantFrom(...points)
    const fields = fc.dictionary(
      fc.constantFrom(
        'path',
        'host',
        'port',
        'class',
        'name',
        'count',
        'now',
        'used',
        'bytes',
        'access',
        'denied',
        'kind',
        'token',
        'where',
        'capability',
      ),
      fc.anything(),
    )
    fc.assert(
      fc.property(point, fields, (point, fields) => {
        const observation = observationOf(event(point, fields), 0)
        if (observation) assert(seenSchema.safeParse(observation.seen).success)
      }),
    )
  })
})

test('Noise has about eight bits per byte, text and zeros far fewer, and short chunks no estimate', () => {
  assert((bytesEntropyOf(randomBytes(4096)) ?? 0) > 7.9)
  assert((bytesEntropyOf(randomBytes(512)) ?? 0) > 7.5)
  assert((bytesEntropyOf(Buffer.from('The quick brown fox. '.repeat(40))) ?? 8) < 5)
  assert.equal(bytesEntropyOf(Buffer.alloc(4096)), 0)
  assert.equal(bytesEntropyOf(randomBytes(100)), undefined)
})

test('Thresholds can only become stricter', () => {
  assert.deepEqual(stricterThresholds({}), defaultThresholds)
  assert.equal(stricterThresholds({ 'denied-burst.count': 5 })['denied-burst.count'], 5)
  assert.throws(() => stricterThresholds({ 'denied-burst.count': 500 }), RangeError)
  assert.throws(() => stricterThresholds({ 'denied-burst.windowMs': 1 }), RangeError)
  assert.throws(() => stricterThresholds({ 'no-such.thing': 1 }), RangeError)
  for (const name of thresholdNames)
    for (const value of [0, -1, NaN, Infinity])
      assert.throws(() => stricterThresholds({ [name]: value }), RangeError)
})
