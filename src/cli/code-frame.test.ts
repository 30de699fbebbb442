import assert from 'node:assert/strict'
import { test } from 'node:test'
import { frameOf } from './code-frame.ts'

test('A position in a source is shown with its line and a caret below it', () => {
  assert.equal(frameOf('a\nreturn 1 +\nb', 2, 8), '2 | return 1 +\n  |        ^')
})

test('The end of a line is a position too, anything beyond it is none', () => {
  assert.equal(frameOf('a(', 1, 3), '1 | a(\n  |   ^')
  assert.equal(frameOf('a(', 1, 4), undefined)
  assert.equal(frameOf('a(', 2, 1), undefined)
})

test('A long line is cut around the position, and the caret stays below it', () => {
  const [shown = '', caret = ''] = frameOf(`${'x'.repeat(500)}!${'y'.repeat(500)}`, 1, 501)!.split(
    '\n',
  )
  assert.ok(shown.length < 110)
  assert.equal(shown[caret.indexOf('^')], '!')
})

test('Terminal controls are escaped, and the caret stays below its position', () => {
  const [shown = '', caret = ''] = frameOf('\x1b[2J\t!', 1, 6)!.split('\n')
  assert.ok(!shown.includes('\x1b'))
  assert.equal(shown[caret.indexOf('^')], '!')
})
