import assert from 'node:assert/strict'
import { test } from 'node:test'
import { saidIn, saidOf } from './told.ts'

const word = 'ghp_secret'
const escaped = `"${Array.from(word, (one) => `\\u00${one.charCodeAt(0).toString(16)}`).join('')}"`
const end = { resultText: 'null', encoding: 'json', status: 'error' } as const

test('What a guest wrote with escapes is read as whoever reads it will have it', () => {
  for (const text of [escaped, `{${escaped}:1}`, `[[{"a":[${escaped}]}]]`])
    assert.ok(saidIn(text).includes(word), text)
  assert.equal(saidIn('{"plain":true}'), '{"plain":true}')
  assert.equal(saidIn('"\\u00'), '"\\u00')
})

test('Everything of an end that a guest wrote is in it: result, error, files, what was left out', () => {
  const error = { code: 'USER_ERROR', message: 'm' }
  const artifact = { path: `out/${word}`, bytes: new Uint8Array() }
  for (const said of [
    { ...end, resultText: escaped },
    { ...end, error: { ...error, message: word } },
    { ...end, error: { ...error, name: word } },
    { ...end, error: { ...error, stack: `at ${word}` } },
    { ...end, error: { ...error, details: { a: [word] } } },
    { ...end, artifacts: [artifact] },
    { ...end, leftOut: [{ path: artifact.path, because: 'a link' }] },
  ])
    assert.ok(saidOf(said).includes(word), JSON.stringify(said))
})
