import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import type { ThreatRow } from '../contract/answers.ts'
import { Threats } from './threats.ts'
import { EventStream } from './event-stream.ts'

test('Audited, blocked, unparsed, denied and anomalous runs are threats, with tenant and verdict', () => {
  const { emitter, threats } = open()
  emitter.emit(
    'threat/analysed',
    { tenant: 'acme', threatScore: 95, risk: 95, patterns: ['VM_ESCAPE'] },
    { run: 'exec_1' },
  )
  emitter.emit('job/admitted', { tenant: 'acme' }, { run: 'exec_1' })
  emitter.emit('threat/unparsed', { tenant: 'acme', why: 'died' }, { run: 'exec_2' })
  emitter.emit('capability/denied', { capability: 'fetch' }, { run: 'exec_1', trust: 'guest' })
  emitter.emit('anomaly/found', { behaviorScore: 40 }, { run: 'exec_1', trust: 'wall' })
  emitter.emit('job/ended', { status: 'blocked', code: 'THREAT_DETECTED' }, { run: 'exec_1' })
  emitter.emit('job/ended', { status: 'refused', tenant: 'other' }, { run: 'exec_2' })
  assert.deepEqual(
    threats.after(0).map(({ kind, tenant, run }) => [kind, tenant, run]),
    [
      ['audited', 'acme', 'exec_1'],
      ['unparsed', 'acme', 'exec_2'],
      ['denied', 'acme', 'exec_1'],
      ['anomaly', 'acme', 'exec_1'],
      ['blocked', 'acme', 'exec_1'],
      ['refused', 'acme', 'exec_2'],
    ],
  )
  assert.deepEqual(
    threats.after(0).map(({ behaviorScore }) => behaviorScore),
    [undefined, undefined, undefined, 40, undefined, undefined],
  )
  const blocked = threats.after(0)[4]!
  assert.deepEqual(
    [blocked.threatScore, blocked.risk, blocked.patterns, blocked.code],
    [95, 95, ['VM_ESCAPE'], 'THREAT_DETECTED'],
  )
})

test('A score of 40 is not audited, one of 41 is', () => {
  const { emitter, threats } = open()
  for (const threatScore of [40, 41]) emitter.emit('threat/analysed', { threatScore }, { run: 'r' })
  assert.deepEqual(
    threats.after(0).map(({ threatScore }) => threatScore),
    [41],
  )
})

test('An effect refused for its threats is blocked; one refused for another reason is no threat', () => {
  const { emitter, threats } = open()
  for (const code of ['THREAT_DETECTED', 'INVALID'])
    emitter.emit('effect/refused', { code, tenant: 'acme' }, { run: code })
  assert.deepEqual(
    threats.after(0).map(({ kind, tenant }) => [kind, tenant]),
    [['blocked', 'acme']],
  )
})

test('A guest cannot fake a tenant, nor that another was blocked', () => {
  const { emitter, threats } = open()
  const guest = { run: 'exec_1', trust: 'guest' } as const
  emitter.emit('job/admitted', { tenant: 'other' }, guest)
  emitter.emit('job/ended', { status: 'blocked' }, guest)
  emitter.emit('threat/analysed', { threatScore: 100 }, guest)
  emitter.emit('job/admitted', { tenant: 'acme' }, { run: 'exec_1' })
  emitter.emit('capability/denied', { capability: 'x', tenant: 'other' }, guest)
  assert.deepEqual(
    threats.after(0).map(({ kind, tenant }) => [kind, tenant]),
    [['denied', 'acme']],
  )
})

test('A tenant sees only its own, and the last are stored', () => {
  const { emitter, threats } = open(10)
  for (let at = 0; at < 100; at += 1)
    emitter.emit('threat/unparsed', { tenant: at % 2 === 0 ? 'a' : 'b' }, { run: `exec_${at}` })
  assert.ok(threats.after(0).length < 20)
  assert.equal(threats.after(0).at(-1)?.run, 'exec_99')
  assert.ok(threats.after(0, 'a').every(({ tenant }) => tenant === 'a'))
  assert.equal(threats.after(threats.after(0).at(-2)!.seq).length, 1)
})

test('A flood of one tenant evicts no threat of another, and many tenants have the last', () => {
  const { emitter, threats } = open(10)
  const threat = (tenant: string, at: number) =>
    emitter.emit('threat/unparsed', { tenant }, { run: `exec_${tenant}_${at}` })
  for (let at = 0; at < 3; at += 1) threat('quiet', at)
  for (let at = 0; at < 1000; at += 1) threat('loud', at)
  assert.equal(threats.after(0, 'quiet').length, 3)
  const loud = threats.after(0, 'loud')
  assert.ok(loud.length >= 7 && loud.length < 20)
  assert.equal(loud.at(-1)?.run, 'exec_loud_999')
  for (let at = 0; at < 100; at += 1) threat(`many_${at}`, at)
  assert.ok(threats.after(0).length < 20)
  assert.equal(threats.after(0).at(-1)?.tenant, 'many_99')
})

test('A reader of the process before a restart continues with the first threat after it, also if the clock was set back', () => {
  const before = open()
  for (let at = 0; at < 3; at += 1) before.emitter.emit('threat/unparsed')
  const seqs = before.threats.after(0).map(({ seq }) => seq)
  assert.deepEqual(
    seqs,
    [...new Set(seqs)].toSorted((one, other) => one - other),
  )
  for (const moved of [1000, -1000]) {
    const { emitter, threats } = open(10, moved)
    // More threats than the process before had, and numbers of its own would repeat those.
    const runs = ['exec_1', 'exec_2', 'exec_3', 'exec_4']
    for (const run of runs) emitter.emit('threat/unparsed', {}, { run })
    assert.deepEqual(
      threats.after(seqs.at(-1)!).map(({ run }) => run),
      runs,
    )
  }
})

test('A listener gets threats as they come, until it unsubscribes', () => {
  const { emitter, threats } = open()
  const heard: ThreatRow[] = []
  const leave = threats.listen((threat) => heard.push(threat))
  emitter.emit('threat/unparsed')
  emitter.emit('server/started')
  leave()
  emitter.emit('threat/unparsed')
  assert.equal(heard.length, 1)
})

function open(kept?: number, moved = 0): { emitter: EventStream; threats: Threats } {
  const threats = new Threats(kept)
  const clock = new SimulatedClock()
  const date = clock.date() + moved
  Object.assign(clock, { date: () => date })
  const emitter = new EventStream({ clock, sinks: [threats.sink] })
  return { emitter, threats }
}
