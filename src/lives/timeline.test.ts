import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import type { TimelineEntry } from '../contract/event.ts'
import { anomalyEntriesMax, guestEntriesMax, Timeline } from './timeline.ts'

function begun() {
  const told: (readonly [entry: TimelineEntry, isKept: boolean])[] = []
  const timeline = new Timeline(new SimulatedClock(), (entry, isKept) => told.push([entry, isKept]))
  timeline.begin({ event: 'phase', phase: 'full' })
  return { timeline, told }
}

test("Zones beyond the timeline's capacity are still streamed: begin, phases, closings and end", () => {
  const { timeline, told } = begun()
  for (let times = 0; times < guestEntriesMax; times++)
    timeline.note({ event: 'zone', fields: { kind: 'ls' } }, `ls-${times}`)
  for (const event of ['zone', 'phase', 'tightened', 'terminated', 'denied'] as const)
    timeline.note({ event }, 'late')
  assert.equal(timeline.end(undefined).filter(({ zone }) => zone === 'late').length, 0)
  const late = told.filter(([{ zone }]) => zone === 'late')
  assert.deepEqual(
    late.map(([{ event }, isKept]) => [event, isKept]),
    [
      ['zone', false],
      ['phase', false],
      ['tightened', false],
      ['terminated', false],
    ],
  )
})

test('Zones, denials and low anomalies cannot crowd out high anomalies', () => {
  const { timeline } = begun()
  for (let times = 0; times < 2000; times++) {
    timeline.note({ event: 'zone' }, `z${times}`)
    timeline.note({ event: 'denied' })
    timeline.note({ event: 'anomaly', fields: { severity: 'medium' } })
  }
  for (let times = 0; times < 2000; times++)
    timeline.note({ event: 'anomaly', fields: { severity: 'high' } })
  timeline.note({ event: 'tightened' })
  const lines = timeline.end('over')
  const high = lines.filter(({ fields }) => fields?.['severity'] === 'high')
  assert.equal(high.length, anomalyEntriesMax / 2)
  assert.equal(lines.at(-2)?.event, 'tightened')
})
