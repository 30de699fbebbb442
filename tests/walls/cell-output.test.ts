import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Output } from '../../guest/cell/output.js'

suite('Output of a cell', () => {
  test('is deferred to a shallower stack frame when the job used up the stack, and arrives complete and in order', () => {
    const written: string[] = []
    let hasRoom = true
    const output = new Output((text) => {
      if (!hasRoom) throw new RangeError('Maximum call stack size exceeded')
      written.push(text)
    }, 100_000)
    output.add('a')
    hasRoom = false
    const long = 'b'.repeat(40_000)
    output.add(long)
    output.add('c')
    assert.match(output.lost?.message ?? '', /stack/)
    hasRoom = true
    output.flush()
    assert.equal(output.lost, undefined)
    assert.equal(written.join(''), `a${long}c`)
  })

  test('is dropped when the sink refuses it, and the cell reports why', () => {
    const output = new Output(() => {
      throw new Error('broken pipe')
    }, 100)
    output.add('a')
    output.flush()
    assert.equal(output.lost?.message, 'broken pipe')
  })
})
