import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { canonicalJson } from '../lib/canonical-json.ts'
import { compileSchema } from './schema.ts'

/** Few distinct values, so that equality is frequent, and numbers that JSON does not distinguish. */
const { value } = fc.letrec((tie) => ({
  leaf: fc.constantFrom<unknown>(0, -0, 1, 0.1, 2 ** 40, '', '0', 'ab', null, true, false),
  list: fc.array(tie('value'), { maxLength: 3 }),
  record: fc.dictionary(fc.constantFrom('a', 'b', '0', '__proto__'), tie('value'), { maxKeys: 3 }),
  value: fc.oneof({ depthSize: 'small' }, tie('leaf'), tie('list'), tie('record')),
}))

test('Values are equal if their canonical JSON is', () => {
  fc.assert(
    fc.property(value, value, (a, b) => {
      const isSame = canonicalJson(a) === canonicalJson(b)
      assert.equal(compileSchema({ const: a })(b) === undefined, isSame)
    }),
    { numRuns: 1000 },
  )
})

test('Items are unique if their canonical JSON is, in short lists and in long ones', () => {
  fc.assert(
    fc.property(fc.array(value, { maxLength: 12 }), fc.nat({ max: 40 }), (items, more) => {
      const list = [...items, ...Array.from({ length: more }, (_, place) => [place, 'more'])]
      const areUnique = new Set(list.map(canonicalJson)).size === list.length
      assert.equal(compileSchema({ uniqueItems: true })(list) === undefined, areUnique)
    }),
    { numRuns: 1000 },
  )
})
