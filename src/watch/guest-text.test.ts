import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withDecodedJson, guestTextOf } from './guest-text.ts'

const word = 'ghp_secret'
const escaped = `"${Array.from(word, (one) => `\\u00${one.charCodeAt(0).toString(16)}`).join('')}"`
const end = { resultText: 'null', encoding: 'json', status: 'error' } as const

test('Escaped JSON of a guest is scanned in decoded form too', () => {
  for (const text of [escaped, `{${escaped}:1}`, `[[{"a":[${escaped}]}]]`])
    assert.ok(withDecodedJson(text).includes(word), text)
  assert.equal(withDecodedJson('{"plain":true}'), '{"plain":true}')
  assert.equal(withDecodedJson('"\\u00'), '"\\u00')
})

test('All guest text of an end is scanned: result, error, file names, omitted files', () => {
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
    assert.ok(guestTextOf(said).includes(word), JSON.stringify(said))
})
