import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expiryOf } from './expiry.ts'

const now = Date.UTC(2027, 0, 1)

test('An expiry is a span, a day or a time in UTC, and a day that no calendar has is none', () => {
  assert.equal(expiryOf('never', now), null)
  assert.equal(expiryOf('12h', now), now + 12 * 3_600_000)
  assert.equal(expiryOf('2028-02-29', now), Date.UTC(2028, 1, 29))
  assert.equal(expiryOf('2030-01-31T10:30Z', now), Date.UTC(2030, 0, 31, 10, 30))
  const wrong = [
    '2027-02-30',
    '2027-02-29',
    '2030-06-31T10:00Z',
    '2030-13-01',
    '2026-12-31',
    '0d',
    '',
  ]
  for (const text of wrong) assert.throws(() => expiryOf(text, now), { code: 'USAGE' }, text)
})
