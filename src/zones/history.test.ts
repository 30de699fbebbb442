import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { ProgramZone, ZoneSplit } from '../contract/zones.ts'
import { narrowed } from './history.ts'

const zone = (name: string, capabilities: ProgramZone['capabilities']) =>
  ({ name, capabilities }) as ProgramZone
const split = (...zones: readonly ProgramZone[]) => ({ zones }) as unknown as ZoneSplit
const granted = (of: ZoneSplit) => of.zones.map(({ name, capabilities }) => [name, capabilities])

suite('What an instance used before bounds its zones', () => {
  test('S2-19: A zone keeps those of its capabilities that it used, and gets no other', () => {
    const past = new Map([['load', new Set(['a.read', 'a.list'])]])
    const now = narrowed(split(zone('load', ['a.read', 'a.write'])), past)
    assert.deepEqual(granted(now), [['load', ['a.read']]])
  })

  test('One that could name any has those that it used, and one that used none has none', () => {
    const past = new Map([
      ['load', new Set(['b', 'a'])],
      ['parse', new Set<string>()],
    ])
    const now = narrowed(split(zone('load', 'any'), zone('parse', ['a'])), past)
    assert.deepEqual(granted(now), [
      ['load', ['a', 'b']],
      ['parse', []],
    ])
  })

  test('One that was never there before has what its schedule gives it', () => {
    const now = narrowed(split(zone('new', ['a']), zone('other', 'any')), new Map())
    assert.deepEqual(granted(now), [
      ['new', ['a']],
      ['other', 'any'],
    ])
  })
})
