import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Fair } from './fair.ts'

suite('What all have together', () => {
  test('one alone has half of it, and the next finds a quarter', () => {
    const fair = new Fair(1000)
    const greedy = fair.hold('a')
    let had = 0
    while (greedy.add(10)) had += 10
    assert.equal(had, 500)
    assert.ok(fair.isFull('a') && !fair.isFull('b'))
    using other = fair.hold('b')
    assert.ok(other.add(250))
    assert.ok(!other.add(1))
    using third = fair.hold('c')
    assert.ok(third.add(250))
    assert.ok(!fair.hold('d').add(1), 'all of it is in use')
    greedy[Symbol.dispose]()
    greedy[Symbol.dispose]()
    assert.equal(fair.total, 500)
    assert.ok(fair.hold('d').add(250))
  })

  test('those of a kind that have less together have no more', () => {
    const fair = new Fair(1000)
    using one = fair.hold('strangers', 100)
    using two = fair.hold('strangers', 100)
    assert.ok(one.add(60) && two.add(40))
    assert.ok(!two.add(1))
  })
})
