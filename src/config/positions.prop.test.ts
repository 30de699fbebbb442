import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { parse, stringify } from 'smol-toml'
import { type KeyPath, positionsOf } from './positions.ts'

const leaf = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }),
  fc.boolean(),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
)
const key = fc
  .oneof(fc.stringMatching(/^[A-Za-z0-9_-]{1,6}$/), fc.string({ minLength: 1, maxLength: 5 }))
  .filter((name) => name !== '__proto__')
const { table } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.array(leaf, { maxLength: 3 }),
    fc.array(tie('table') as fc.Arbitrary<Record<string, unknown>>, { minLength: 1, maxLength: 3 }),
    tie('table'),
  ),
  table: fc.dictionary(key, tie('value'), { maxKeys: 4 }),
}))

test('every path of any TOML has a position, where its key is', () => {
  fc.assert(
    fc.property(table, (value) => {
      const text = stringify(value)
      const lines = text.split('\n')
      const find = positionsOf(text)
      for (const path of pathsOf(parse(text))) {
        const position = find(path)
        assert.ok(position, `${JSON.stringify(path)} has no position in\n${text}`)
        const rest = lines[position.line - 1]!.slice(position.column - 1)
        const last = path.at(-1)
        if (typeof last === 'string' && /^[A-Za-z0-9_-]+$/.test(last))
          assert.match(rest, new RegExp(`^["']?${last}`))
      }
    }),
    { numRuns: 200 },
  )
})

test('invalid TOML still terminates the search', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'[]{}="\'\\#.,\na 1'.split('')) }), (text) => {
      positionsOf(text)(['a'])
    }),
    { numRuns: 500 },
  )
})

function pathsOf(value: unknown, path: KeyPath = []): KeyPath[] {
  if (Array.isArray(value))
    return value.flatMap((item, index) => [[...path, index], ...pathsOf(item, [...path, index])])
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, item]) => [
    [...path, name],
    ...pathsOf(item, [...path, name]),
  ])
}
