import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type LifeView, readCondition } from './condition.ts'

const words = [
  'life.age life.phase life.cpu calls output.bytes anomaly.last events',
  '"capability/denied" "full" 0 1 -1 1.5 9223372036854775807 true null',
  '+ - * / % == != < >= && || ! ? : in . , ( ) [ ] { }',
  'size .startsWith( .map(x, .all(x, .matches( x __proto__ constructor',
  String.raw`b"x" r'\d' \ " ' ${'\0'}`,
].flatMap((line) => line.split(' '))
const text = fc.oneof(
  { weight: 5, arbitrary: fc.array(fc.constantFrom(...words), { maxLength: 40, size: 'small' }) },
  fc.array(fc.string({ unit: 'binary', maxLength: 20 }), { maxLength: 5 }),
)
const count = fc.nat({ max: 2 ** 31 })
const view: fc.Arbitrary<LifeView> = fc.record({
  life: fc.record({
    age: count,
    phase: fc.string(),
    phaseAge: count,
    cpu: fc.option(count, { nil: undefined }),
  }),
  events: fc.record({ 'capability/denied': count }),
  anomaly: fc.record({ last: fc.constantFrom('none' as const, 'high' as const), count }),
  output: fc.record({ bytes: count }),
  calls: count,
})

test('Any condition text is parsed or refused with a reason, and evaluates to true, to false or to an error', () => {
  let read = 0
  fc.assert(
    fc.property(text, view, (parts, view) => {
      const condition = readOrRefused(parts.join(' '))
      if (!condition) return
      read += 1
      const before = JSON.stringify(view)
      try {
        assert.equal(typeof condition.holds(view), 'boolean')
      } catch (thrown) {
        assert(thrown instanceof Error && thrown.message !== '')
      }
      assert.equal(JSON.stringify(view), before)
    }),
    { numRuns: 20_000 },
  )
  assert(read > 20, `only ${read} conditions were read`)
})

function readOrRefused(text: string) {
  try {
    return readCondition(text)
  } catch (thrown) {
    assert(thrown instanceof RangeError, `it threw ${String(thrown)}`)
    assert(thrown.message.startsWith('expected'))
    return undefined
  }
}
