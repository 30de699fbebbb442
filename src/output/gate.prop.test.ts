import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { decodeTagged, encodeTagged } from '../lib/tagged.ts'
import { depthMax, readResult } from './result.ts'
import { OutputStream } from './stream.ts'

/** Without redraws of a line, which count once. */
const bytes = fc
  .oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.string({ unit: 'grapheme' }).map((text) => new TextEncoder().encode(text)),
  )
  .map((all) => all.map((byte) => (byte === 13 ? 32 : byte)))

test("The listener's text equals the final text, however a stream is cut into chunks", () => {
  fc.assert(
    fc.property(bytes, fc.array(fc.nat({ max: 9 })), fc.nat({ max: 80 }), (all, sizes, limit) => {
      const heard: string[] = []
      const stream = new OutputStream(limit, { listener: (text) => void heard.push(text) })
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
      const listener = (text: string, raw?: Uint8Array) => {
        assert.equal(raw === undefined, isUtf8(raw ?? Buffer.from(text)))
        told.push(raw ?? Buffer.from(text))
      }
      const stream = new OutputStream(limit, { listener })
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

test('Output over its limit keeps its beginning and its end at lines, and says how much is between them', () => {
  const line = fc
    .string({ unit: 'grapheme', maxLength: 80 })
    .map((text) => text.replace(/[\r\n]/g, ' '))
  const lines = fc.array(line, { minLength: 1, maxLength: 120 }).map((all) => all.join('\n'))
  fc.assert(
    fc.property(
      lines,
      fc.array(fc.integer({ min: 1, max: 500 })),
      fc.integer({ min: 256, max: 2000 }),
      (text, sizes, limit) => {
        const all = Buffer.from(text)
        const heard: string[] = []
        const stream = new OutputStream(limit, { listener: (piece) => void heard.push(piece) })
        let at = 0
        for (const size of [...sizes, all.length]) void stream.take(all.subarray(at, (at += size)))
        const shown = stream.close()
        assert.equal(heard.join(''), shown)
        assert.ok(Buffer.byteLength(shown) <= limit)
        assert.equal(stream.isTruncated, all.length > limit)
        if (!stream.isTruncated) return assert.equal(shown, text)
        const [, head = '', leftOut, tail = ''] =
          /^([^]*?)\n?… (\d+) bytes left out …\n([^]*)$/.exec(shown)!
        assert.ok(text.startsWith(head) && text.endsWith(tail))
        const kept = Buffer.byteLength(head) + Buffer.byteLength(tail)
        assert.ok([0, 1].includes(all.length - kept - Number(leftOut)))
        assert.equal(stream.leftOut, Number(leftOut))
      },
    ),
    // A line of the second chunk is told once it is whole, when more than all that is held has come.
    {
      numRuns: 500,
      examples: [[`${'a'.repeat(160)}\n${'b'.repeat(9)}\n${'c'.repeat(150)}`, [165], 256]],
    },
  )
})

test('A line that is redrawn counts once, however it is cut into chunks', () => {
  const state = fc.stringMatching(/^[a-z]{1,30}$/)
  const steps = fc.array(state, { minLength: 1, maxLength: 400 })
  fc.assert(
    fc.property(steps, fc.array(fc.integer({ min: 1, max: 900 })), (states, sizes) => {
      const all = Buffer.from(`begin\n${states.join('\r')}\r\nend\n`)
      const stream = new OutputStream(256)
      let at = 0
      for (const size of [...sizes, all.length]) void stream.take(all.subarray(at, (at += size)))
      const text = stream.close()
      assert.equal(stream.isTruncated, false)
      if (all.length <= 256) assert.equal(text, all.toString())
      else assert.equal(text.replace(/[a-z]+\r(?!\n)/g, ''), `begin\n${states.at(-1)}\r\nend\n`)
    }),
    { numRuns: 300 },
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
