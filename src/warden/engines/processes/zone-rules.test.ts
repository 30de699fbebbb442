import assert from 'node:assert/strict'
import { realpathSync } from 'node:fs'
import { test } from 'node:test'
import type { ZoneRule } from '../../../contract/zone-rules.ts'
import { matches, ruleFinder } from './zone-rules.ts'

const rule = (kind: string, ...programs: string[]): ZoneRule => ({ kind, programs, life: 1 })
const nothing = { path: '', real: '', by: [] as readonly string[] }

test('A star matches any text, also the empty one, in linear time for any number of stars', () => {
  for (const [pattern, text] of [
    ['ffmpeg', 'ffmpeg'],
    ['ff*', 'ff'],
    ['*', ''],
    ['/opt/*/bin/*', '/opt/a/b/bin/c'],
    ['a*b*a', 'abba'],
  ] as const)
    assert.ok(matches(pattern, text), `${pattern} ${text}`)
  for (const [pattern, text] of [
    ['ffmpeg', 'ffmpeg2'],
    ['a*a', 'a'],
    ['*b', 'ab '],
    ['.*', 'x'],
  ] as const)
    assert.ok(!matches(pattern, text), `${pattern} ${text}`)
  assert.ok(!matches(`${'a*'.repeat(120)}b`, 'a'.repeat(5000)))
})

test('The first rule applies that names a program by its called path, its canonical file or its interpreter', () => {
  const ruleOf = ruleFinder([rule('shell', 'sh'), rule('own', '/work/*'), rule('rest', '*')])
  const kindOf = (executed: Partial<typeof nothing>) => ruleOf({ ...nothing, ...executed })?.kind
  assert.equal(kindOf({ path: './sh' }), 'shell')
  assert.equal(kindOf({ path: 'other', real: realpathSync('/bin/sh') }), 'shell', 'by another name')
  assert.equal(kindOf({ path: 'run', real: '/work/run', by: ['/usr/bin/sh'] }), 'shell')
  assert.equal(kindOf({ path: 'run', real: '/run', by: ['/opt/a', '/usr/bin/sh'] }), 'shell')
  assert.equal(kindOf({ path: 'run', real: '/work/run (deleted)' }), 'own')
  assert.equal(kindOf({ path: 'work/run' }), 'rest')
  assert.equal(ruleFinder([rule('shell', 'sh')])({ ...nothing, path: 'shh' }), undefined)
})
