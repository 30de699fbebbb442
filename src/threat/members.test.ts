import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memberOf, notYet, type KeyOf } from './members.ts'
import type { Node } from './syntax.ts'

let at = 0
const node = (type: string, fields: object): Node => ({ type, start: at++, end: at, ...fields })
const property = (key: string | undefined, value: Node) => node('Property', { key, value })
const object = (properties: readonly Node[]) => node('ObjectExpression', { properties })
const number = (value: number) => node('Literal', { value })

/** Key function that counts its calls. */
function counting() {
  const asked = { times: 0 }
  const keyOf: KeyOf = (of) => {
    asked.times++
    return of['key']
  }
  return { asked, keyOf }
}

test('For any number of member reads, each property is evaluated once', () => {
  const { asked, keyOf } = counting()
  const values = Array.from({ length: 1000 }, (_, index) => number(index))
  const literal = object(values.map((value, index) => property(`a${index}`, value)))
  for (const [index, value] of values.entries()) {
    assert.equal(memberOf(literal, `a${index}`, keyOf), value)
    assert.equal(memberOf(literal, 'none', keyOf), undefined)
  }
  assert.equal(asked.times, 1000)
})

test('The last of two properties with the same key counts; a property without a key does not', () => {
  const { keyOf } = counting()
  const [first, second] = [number(1), number(2)]
  const spread = node('SpreadElement', {})
  const unknown = property(undefined, number(3))
  const literal = object([property('a', first), property('a', second), spread, unknown])
  assert.equal(memberOf(literal, 'a', keyOf), second)
})

test('A key that leads back to its own object is resolved lazily, and counts afterwards', () => {
  const [early, late] = [number(1), number(2)]
  const computed = property(undefined, late)
  const literal = object([property('a', early), property('b', number(3)), computed])
  let working = false
  const seen: (Node | undefined)[] = []
  const keyOf: KeyOf = (of) => {
    if (of !== computed) return of['key']
    if (working) return notYet
    working = true
    seen.push(memberOf(literal, 'a', keyOf))
    working = false
    return 'a'
  }
  assert.equal(memberOf(literal, 'a', keyOf), late)
  assert.deepEqual(seen, [early])
})

test('A property with an unresolved key is evaluated again until it is resolved', () => {
  const value = number(1)
  const literal = object([property('a', number(2)), property('later', value)])
  const told: KeyOf = (of) => of['key']
  const open: KeyOf = (of) => (of['key'] === 'later' ? notYet : of['key'])
  assert.equal(memberOf(literal, 'later', open), undefined)
  assert.equal(memberOf(literal, 'later', told), value)
})

test('An element is found by its index, but not in an array with a spread', () => {
  const { keyOf } = counting()
  const one = number(1)
  const elements = [null, one]
  assert.equal(memberOf(node('ArrayExpression', { elements }), '1', keyOf), one)
  assert.equal(memberOf(node('ArrayExpression', { elements }), '0', keyOf), undefined)
  const spread = [...elements, node('SpreadElement', {})]
  assert.equal(memberOf(node('ArrayExpression', { elements: spread }), '1', keyOf), undefined)
})
