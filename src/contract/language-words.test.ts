import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newJob } from '../job.ts'
import { checked } from './checked.ts'
import { systemClock } from './clock.ts'
import { effectRequest } from './effect.ts'
import { jobRequest } from './job.ts'
import { languageOfName } from './language-words.ts'
import { sessionRequest } from './session.ts'

const usual = [
  ['javascript', 'js'],
  ['MJS', 'js'],
  ['jsx', 'js'],
  ['TypeScript', 'ts'],
  ['tsx', 'ts'],
  ['NodeJS', 'node'],
  ['py', 'python'],
  ['Python3', 'python'],
  ['shell', 'bash'],
  ['WebAssembly', 'wasm'],
  ['sh', 'sh'],
] as const

test('the usual names of languages are read in any case, and the canonical word comes out', () => {
  for (const [name, language] of usual) {
    const asked = { code: '', language: name }
    assert.equal(checked(jobRequest, asked, 'job').language, language)
    assert.equal(checked(sessionRequest, { language: name }, 'session').language, language)
    const effect = { effectId: 'a', code: 'x', language: name }
    assert.equal(checked(effectRequest, effect, 'effect').language, language)
  }
})

test('an unknown language is refused with the words that are known', () => {
  assert.throws(
    () => checked(jobRequest, { code: '', language: 'cobol' }, 'job'),
    /expected one of js, ts, node, .*javascript/,
  )
})

const who = { tenant: 'default', principal: 'test', origin: 'library' } as const

test('a job without a language has that of its file name, and a name of another language is refused', () => {
  const named = (name: string, code = '') => newJob({ code, name }, who, systemClock).asked.language
  assert.deepEqual(
    ['a.py', 'a.SH', 'a.ts', 'a'].map((name) => named(name)),
    ['python', 'sh', undefined, undefined],
  )
  assert.throws(() => named('a.rb'), /"a\.rb": its suffix "\.rb" is that of Ruby/)
  assert.throws(() => named('a.xyz'), /its suffix "\.xyz" names no language/)
  assert.equal(named('a.rb', '#!/usr/bin/env python3\n'), undefined)
})

test('a dotfile and a folder with a dot have no suffix', () => {
  for (const file of ['.bashrc', 'a.d/job', '/dev/fd/63', '-'])
    assert.equal(languageOfName(file).kind, 'bare')
})
