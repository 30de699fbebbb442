import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { decodeTagged, encodeTagged } from '../lib/tagged.ts'
import { depthMax, readResult } from './result.ts'
import { OutputStream } from './stream.ts'

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc.string({ unit: 'grapheme' }).map((text) => new TextEncoder().encode(text)),
)

test("The listener's text equals the final text, however a stream is cut into chunks", () => {
  fc.assert(
    fc.property(bytes, fc.array(fc.nat({ max: 9 })), fc.nat({ max: 80 }), (all, sizes, limit) => {
      const heard: string[] = []
      const stream = new OutputStream(limit, (text) => void heard.push(text))
      let at = 0
      for (const size of [...sizes, all.length]) void stream.take(all.subarray(at, (at += size)))
      const text = stream.close()
      const whole = new OutputStream(limit)
      void whole.take(all)
      assert.equal(text, whole.close())
      assert.equal(heard.join(''), text)
      assert(text.isWellFormed())
      assert.equal(stream.isTruncated, all.length > limit)
    }),
    { numRuns: 500 },
  )
})

test("The listener's bytes are those of the stream, up to a cut between characters", () => {
  fc.assert(
    fc.property(bytes, fc.array(fc.nat({ max: 9 })), fc.nat({ max: 80 }), (all, sizes, limit) => {
      const told: Uint8Array[] = []
      const stream = new OutputStream(limit, (text, raw) => {
        assert.equal(raw === undefined, isUtf8(raw ?? Buffer.from(text)))
        told.push(raw ?? Buffer.from(text))
      })
      let at = 0
      for (const size of [...sizes, all.length]) {
        // The buffer of a chunk is used again.
        const chunk = all.slice(at, (at += size))
        void stream.take(chunk)
        chunk.fill(0)
      }
      const text = stream.close()
      const heard = Buffer.concat(told)
      assert.deepEqual(heard, Buffer.from(all.subarray(0, heard.length)))
      assert.equal(new TextDecoder('utf-8', { ignoreBOM: true }).decode(heard), text)
      const lost = Math.min(limit, all.length) - heard.length
      assert(all.length > limit ? lost <= 3 : lost === 0)
    }),
    { numRuns: 500 },
  )
})

test('Any text is read as plain well-formed data or refused', () => {
  const texts = fc.oneof(
    fc.array(fc.nat({ max: 0xffff })).map((units) => `"${String.fromCharCode(...units)}"`),
    fc.json(),
    fc.stringMatching(/^[[\]{}",:\\0-9eu-]*$/),
    fc.json().map((text) => text.replace('"', '"\\ud800')),
  )
  fc.assert(
    fc.property(texts, fc.constantFrom('json' as const, 'tagged' as const), (text, encoding) => {
      const read = readResult(text, encoding, 1000)
      if (read.kind === 'refused') return assert.match(read.error.code, /^RESULT_/)
      const again = JSON.stringify(read.value)
      assert(again.isWellFormed() && !/\\ud[89a-f]/i.test(again))
    }),
    { numRuns: 500 },
  )
})

test('Results encoded by a correct wall pass, down to the deepest level allowed', () => {
  let deep: unknown = 1
  for (let level = 0; level < depthMax / 3; level++) deep = new Map([[level, deep]])
  const { text, encoding } = encodeTagged(deep)
  const read = readResult(text, encoding, 2 ** 20)
  assert(read.kind === 'result')
  assert.deepEqual(decodeTagged(read.value), deep)
})
