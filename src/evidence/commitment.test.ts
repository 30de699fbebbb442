import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { commit, committed, newSalts } from './commitment.ts'

test('A commitment is the HMAC-SHA-256 of its text with the salt of its field, short or long', () => {
  const texts = [
    '',
    'x',
    'ü\u0000\ud800',
    '\ud83d\ude00'.repeat(512),
    'x'.repeat(1024),
    'x'.repeat(1025),
  ]
  texts.push('\uffff'.repeat(1024), 'x'.repeat(1_000_000))
  for (const text of texts) {
    const salts = newSalts()
    for (const [at, field] of committed.entries()) {
      const salt = salts.subarray(at * 16, at * 16 + 16)
      const expected = createHmac('sha256', salt).update(text).digest('hex')
      assert.equal(commit(salts, field, text), expected)
    }
  }
})
