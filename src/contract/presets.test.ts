import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scheduleFaults } from '../config/schedules.ts'
import { configSchema } from './config.ts'
import { parsePattern } from './network.ts'
import { presetNames, presets } from './presets.ts'

const { limits, anomalies, sandboxes } = configSchema.parse({})
/** A job that names one of these has its own time all the same. */
const forSessions = new Set(['shrinking-session'])

test('A preset for jobs ends within the default time, and none is bound to anything', () => {
  for (const name of presetNames) {
    const { phases, zones, for_origins, for_capabilities } = presets()[name]!.schedule
    const lengthMs = phases.reduce((sum, phase) => sum + phase.for, 0)
    assert.ok(lengthMs <= (forSessions.has(name) ? sandboxes.lifetime : limits.timeout), name)
    assert.deepEqual([zones, for_origins, for_capabilities], [{}, [], []])
  }
})

test('Each preset is a schedule that a configuration could have', () => {
  const schedules = Object.fromEntries(presetNames.map((name) => [name, presets()[name]!.schedule]))
  assert.deepEqual([...scheduleFaults(structuredClone(schedules) as never)], [])
})

test('A preset answers an anomaly no more mildly than a life without a schedule', () => {
  for (const name of presetNames)
    assert.equal(presets()[name]!.schedule.on_anomaly.high, 'terminate', name)
  assert.equal(anomalies.honeytokens, false)
})

test('The network of a preset is unregistrable host names', () => {
  for (const name of presetNames)
    for (const host of presets()[name]!.network) {
      assert.ok(parsePattern(host, 'https'), host)
      assert.match(host, /^(?:http:\/\/)?[a-z.]+\.example(?::80)?$/)
    }
})
