import assert from 'node:assert/strict'
import { test } from 'node:test'
import { frameOf } from './frame.ts'

test('A place in a source is shown with its line and a caret below it', () => {
  assert.equal(frameOf('a\nreturn 1 +\nb', 2, 8), '2 | return 1 +\n  |        ^')
})

test('The end of a line is a place too, and what is beyond it is none', () => {
  assert.equal(frameOf('a(', 1, 3), '1 | a(\n  |   ^')
  assert.equal(frameOf('a(', 1, 4), undefined)
  assert.equal(frameOf('a(', 2, 1), undefined)
})

test('Of a long line only what is near is shown, and the caret stays below its place', () => {
  const [shown = '', caret = ''] = frameOf(`${'x'.repeat(500)}!${'y'.repeat(500)}`, 1, 501)!.split(
    '\n',
  )
  assert.ok(shown.length < 110)
  assert.equal(shown[caret.indexOf('^')], '!')
})

test('What could move a cursor is written out, and the caret stays below its place', () => {
  const [shown = '', caret = ''] = frameOf('\x1b[2J\t!', 1, 6)!.split('\n')
  assert.ok(!shown.includes('\x1b'))
  assert.equal(shown[caret.indexOf('^')], '!')
})
