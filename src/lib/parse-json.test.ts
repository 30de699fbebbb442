import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { parseJson as parseOfOne } from '../../guest/parse-json.js'
import { parseJson } from './parse-json.ts'

/** Pairs: a text with a backslash in a key, then one whose key begins alike. */
const poisoned: readonly (readonly [first: string, then: string, key: string])[] = [
  [String.raw`{"h":[],"\\":0}`, String.raw`{"h":1,"\"":2}`, '"'],
  [String.raw`{"i":[],"\\":0}`, String.raw`{"i":1,"\u0022":2}`, '"'],
  [String.raw`{"j":[],"\\n":0}`, String.raw`{"j":1,"\nx":2}`, '\nx'],
  [String.raw`{"k":[],"\\u00":0}`, String.raw`{"k":1,"\u0063ode":2}`, 'code'],
]

test('A key is read as written, whatever keys were parsed before it', () => {
  for (const [first, then, key] of poisoned) {
    parseJson(first)
    assert.deepEqual(Object.keys(parseJson(then) as object).slice(1), [key], then)
    assert.deepEqual(Object.keys((parseJson(`[${first},${then}]`) as [object, object])[1])[1], key)
  }
})

const plainKeys = ['A', '1', '0', '', '~', '~0', '~1', '~~', 'é', '😀', '__proto__', 'constructor']
const escapedKeys = ['"', '\\', '\n', '\t', 'a"', 'a\\', '~\n', '\u2028', '\ud800', '\u0000']
const key = fc.oneof(fc.constantFrom(...plainKeys, ...escapedKeys), fc.string({ maxLength: 3 }))
const space = fc.constantFrom('', ' ', '\n', '\r\t ')

interface Said {
  readonly text: string
  readonly value: unknown
}

/** A key with an arbitrary choice of escapes. */
const written = fc.tuple(key, fc.array(fc.nat(3), { maxLength: 4 })).map(([text, ways]) => ({
  key: text,
  text: `"${Array.from({ length: text.length }, (_, at) => unitOf(text, at, ways[at] ?? 0)).join('')}"`,
}))

function unitOf(text: string, at: number, way: number): string {
  const code = text.charCodeAt(at)
  const long = `\\u${code.toString(16).padStart(4, '0')}`
  if (way === 1) return long
  const short = JSON.stringify(text[at]).slice(1, -1)
  return short.startsWith('\\u') && code > 0x1f ? text[at]! : short
}

const { said } = fc.letrec<{ said: Said }>((tie) => ({
  said: fc.oneof(
    { maxDepth: 5 },
    fc
      .oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null))
      .map((value): Said => ({ text: JSON.stringify(value), value })),
    fc.array(tie('said'), { maxLength: 4 }).map((items): Said => ({
      text: `[${items.map(({ text }) => text).join(' , ')}]`,
      value: items.map(({ value }) => value),
    })),
    fc.array(fc.tuple(written, space, tie('said')), { maxLength: 6 }).map((pairs): Said => ({
      text: `{${pairs.map(([name, gap, { text }]) => `${name.text}${gap}:${gap}${text}`).join(',')}}`,
      value: Object.fromEntries(pairs.map(([name, , { value }]) => [name.key, value])),
    })),
  ),
}))

test('Any JSON is read as written, including duplicate keys and their order', () => {
  fc.assert(
    fc.property(said, ({ text, value }) => {
      const read = parseJson(text)
      assert.equal(JSON.stringify(read), JSON.stringify(value))
      assert.deepEqual(read, value)
    }),
    { numRuns: 2000 },
  )
})

test('Invalid JSON is refused as JSON.parse refuses it', () => {
  for (const text of ['', '{', '{"\\"":', '{"\\"" 1}', '"\\', '{"a\\":1}', '\\', '[1,]']) {
    assert.throws(() => parseJson(text), SyntaxError, text)
  }
})

test('Depth and many keys with escapes cost no stack', () => {
  const depth = 50_000
  let value = parseJson(`${'{"\\"":'.repeat(depth)}1${'}'.repeat(depth)}`)
  for (let level = 0; level < depth; level++) value = (value as { '"': unknown })['"']
  assert.equal(value, 1)
  const many = Array.from({ length: 50_000 }, (_, index) => `"\\"${index}":${index}`)
  assert.equal(Object.keys(parseJson(`{${many.join(',')}}`) as object).at(-1), '"49999')
  assert.throws(() => parseJson(`{${many.join(',')},"\\"":1}`), /more than 50000 keys have escapes/)
  assert.equal((parseOfOne(`{${many.join(',')},"\\"":1}`) as { '"': number })['"'], 1)
})
