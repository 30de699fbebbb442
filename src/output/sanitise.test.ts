import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { sanitise } from './sanitise.ts'

test('Escape sequences, controls and bidi overrides are escaped; text, tabs and line ends stay', () => {
  assert.equal(sanitise('\x1b]0;title\x07\x9b2J'), '\\x1b]0;title\\x07\\x9b2J')
  assert.equal(sanitise('user\u202etxt.exe'), 'user\\u202etxt.exe')
  assert.equal(sanitise('a\tb\nc\r\nd\re'), 'a\tb\nc\r\nd\\x0de')
  assert.equal(sanitise('Grüße, 世界 \u{1f600}'), 'Grüße, 世界 \u{1f600}')
})

test('Sanitised text contains no terminal control', () => {
  const units = fc.array(
    fc.oneof(
      fc.nat({ max: 0xff }),
      fc.integer({ min: 0x2000, max: 0x20ff }),
      // ALM, the bidi control outside of both ranges.
      fc.constant(0x061c),
      fc.nat({ max: 0xffff }),
    ),
  )
  fc.assert(
    fc.property(units, (units) => {
      const safe = sanitise(String.fromCharCode(...units))
      assert.doesNotMatch(safe.replaceAll(/\r\n|[\n\t]/g, ''), /[\p{Cc}\p{Bidi_C}]/u)
      assert.equal(sanitise(safe), safe)
    }),
  )
})
