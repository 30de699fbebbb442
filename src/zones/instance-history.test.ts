import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { ProgramZone, ZoneSplit } from '../contract/zones.ts'
import { limitToHistory } from './instance-history.ts'

const zone = (name: string, capabilities: ProgramZone['capabilities']) =>
  ({ name, capabilities }) as ProgramZone
const split = (...zones: readonly ProgramZone[]) => ({ zones }) as unknown as ZoneSplit
const granted = (of: ZoneSplit) => of.zones.map(({ name, capabilities }) => [name, capabilities])

suite('Zones bounded by the history of an instance', () => {
  test('S2-19: A zone keeps the capabilities it used, and gets no others', () => {
    const past = new Map([['load', new Set(['a.read', 'a.list'])]])
    const now = limitToHistory(split(zone('load', ['a.read', 'a.write'])), past)
    assert.deepEqual(granted(now), [['load', ['a.read']]])
  })

  test('A zone with any capability is limited to those it used, and to none if it used none', () => {
    const past = new Map([
      ['load', new Set(['b', 'a'])],
      ['parse', new Set<string>()],
    ])
    const now = limitToHistory(split(zone('load', 'any'), zone('parse', ['a'])), past)
    assert.deepEqual(granted(now), [
      ['load', ['a', 'b']],
      ['parse', []],
    ])
  })

  test('A zone without history has the controls of its schedule', () => {
    const now = limitToHistory(split(zone('new', ['a']), zone('other', 'any')), new Map())
    assert.deepEqual(granted(now), [
      ['new', ['a']],
      ['other', 'any'],
    ])
  })
})
