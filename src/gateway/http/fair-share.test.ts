import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { FairShare } from './fair-share.ts'

suite('Fair shares', () => {
  test('a single holder gets half, and the next a quarter of the limit', () => {
    const fair = new FairShare(1000)
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

  test('a holder above its share gives back, and takes nothing more', () => {
    const fair = new FairShare(1000)
    using greedy = fair.hold('a')
    assert.ok(greedy.add(500))
    using one = fair.hold('b')
    using other = fair.hold('c')
    assert.ok(one.add(200) && other.add(200))
    assert.ok(!greedy.add(1) && greedy.add(0) && greedy.add(-100))
    assert.equal(fair.total, 800)
  })

  test('holders with a lower maximum of their own get no more than that', () => {
    const fair = new FairShare(1000)
    using one = fair.hold('strangers', 100)
    using two = fair.hold('strangers', 100)
    assert.ok(one.add(60) && two.add(40))
    assert.ok(!two.add(1))
  })
})
