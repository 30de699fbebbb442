import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { lastForwarded } from './forwarded.ts'

/** Characters that lead a reader astray, and others. */
const hostile = fc
  .array(
    fc.constantFrom('"', '\\', ',', ';', '=', ' ', 'for=', 'for="', '10.9.9.9', '[', 'é', '\t'),
  )
  .map((parts) => parts.join(''))
const written = fc.tuple(
  fc.constantFrom('203.0.113.7', '[2001:db8::1]:80', 'unknown', 'a"b\\c,d;e'),
  fc.string({ unit: fc.constantFrom('"', '\\', ',', ';', 'a', ' ', '=') }),
)
const quoted = (text: string) => `"${text.replaceAll(/["\\]/g, '\\$&')}"`

test('Attack: no text of the client changes how the element appended by a proxy is parsed', () => {
  fc.assert(
    fc.property(hostile, written, (client, [from, host]) => {
      const element = `host=${quoted(host)};for=${quoted(from)};proto=https`
      assert.deepEqual(lastForwarded(`${client}, ${element}`), { rest: client, from })
    }),
    { numRuns: 2000 },
  )
})

test('Any text is parsed, also long ones of quotes and backslashes, and the text before its last element is unchanged', () => {
  for (const part of ['"', '\\', '\\"', ',', 'a=b;', 'for=', '"\\'])
    lastForwarded(part.repeat(100_000))
  fc.assert(
    fc.property(hostile, (text) => {
      const { rest, from } = lastForwarded(text)
      assert.ok(text.startsWith(rest) && (from === undefined || text.includes(from.slice(0, 1))))
    }),
  )
})
