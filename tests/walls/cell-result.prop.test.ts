import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { inCell, valueOf } from './in-cell.ts'

const ROUNDS = { numRuns: 60 }

test('any JSON input is returned as JSON.stringify writes it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue({ maxDepth: 6 }), async (value) => {
      const text = JSON.stringify(value)
      // Only these two are written differently, and have their own tests.
      fc.pre(!text.includes('__proto__') && !text.includes('-0'))
      const ran = await inCell('return input', { input: value })
      assert.equal(ran.encoding, 'json')
      assert.equal(ran.resultText, text)
    }),
    ROUNDS,
  )
})

test('text in any of the three encodings decodes as it does in Node, in one piece or several', async () => {
  const label = fc.constantFrom('utf-8', 'utf-16le', 'latin1')
  const code = `
    const whole = new TextDecoder(input.label).decode(new Uint8Array(input.bytes))
    const stream = new TextDecoder(input.label)
    let parts = stream.decode(new Uint8Array(input.bytes.slice(0, input.at)), { stream: true })
    parts += stream.decode(new Uint8Array(input.bytes.slice(input.at)))
    return [whole, parts, [...new TextEncoder().encode(whole)]]`
  const bytes = fc.array(
    fc.oneof(
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(0xe2, 0x82, 0xac, 0xed, 0xa0, 0xf0, 0x9f, 0xd8, 0xdc),
    ),
    { maxLength: 12 },
  )
  await fc.assert(
    fc.asyncProperty(label, bytes, fc.nat(12), async (label, bytes, at) => {
      const expected = new TextDecoder(label).decode(new Uint8Array(bytes))
      const encoded = [...new TextEncoder().encode(expected)]
      assert.deepEqual(await valueOf(code, { input: { label, bytes, at } }), [
        expected,
        expected,
        encoded,
      ])
    }),
    { numRuns: 150 },
  )
})

test('btoa and atob of any binary string give the same results as in Node', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 20 }), async (bytes) => {
      const text = String.fromCharCode(...bytes)
      const code =
        'const text = btoa(input); return [text, atob(text) === input, new Uint8Array([...input].map((c) => c.charCodeAt(0)))]'
      const [encoded, isSame, tagged] = (await valueOf(code, { input: text })) as [
        string,
        boolean,
        object,
      ]
      assert.deepEqual([encoded, isSame], [btoa(text), true])
      assert.deepEqual(tagged, { $type: 'bytes', value: btoa(text) })
    }),
    ROUNDS,
  )
})
