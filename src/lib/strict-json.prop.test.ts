import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { readStrictJson, StrictJsonError } from './strict-json.ts'
import { parseJson } from './parse-json.ts'

const options = { depthMax: 64, keep: 'input' }

test('Output of JSON.stringify is read back equal, and the kept text parses to the member', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 20 }), fc.boolean(), (input, pretty) => {
      const text = JSON.stringify({ before: input, input, after: 1 }, null, pretty ? 2 : 0)
      const { value, kept } = readStrictJson(Buffer.from(text), options)
      assert.deepEqual(value, parseJson(text))
      assert.deepEqual(parseJson(kept!), parseJson(JSON.stringify(input)))
    }),
  )
})

test('Any bytes are either read as JSON.parse reads them or refused with StrictJsonError', () => {
  const jsonish = fc
    .array(fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', 'a', '1', ' ', 'é', '"a":'))
    .map((parts) => Buffer.from(parts.join('')))
  fc.assert(
    fc.property(fc.oneof(jsonish, fc.uint8Array({ maxLength: 64 })), (bytes) => {
      try {
        const { value } = readStrictJson(bytes, options)
        assert.deepEqual(value, parseJson(Buffer.from(bytes).toString()))
      } catch (thrown) {
        assert.ok(thrown instanceof StrictJsonError, String(thrown))
      }
    }),
    { numRuns: 2000 },
  )
})
