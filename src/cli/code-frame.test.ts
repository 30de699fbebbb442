import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codeFrameOf } from './code-frame.ts'

test('A position in a source is shown with its line and a caret below it', () => {
  assert.equal(codeFrameOf('a\nreturn 1 +\nb', 2, 8), '2 | return 1 +\n  |        ^')
})

test('The end of a line is a position too, anything beyond it is none', () => {
  assert.equal(codeFrameOf('a(', 1, 3), '1 | a(\n  |   ^')
  assert.equal(codeFrameOf('a(', 1, 4), undefined)
  assert.equal(codeFrameOf('a(', 2, 1), undefined)
})

test('A long line is cut around the position, and the caret stays below it', () => {
  const [shown = '', caret = ''] = codeFrameOf(
    `${'x'.repeat(500)}!${'y'.repeat(500)}`,
    1,
    501,
  )!.split('\n')
  assert.ok(shown.length < 110)
  assert.equal(shown[caret.indexOf('^')], '!')
})

test('Terminal controls are escaped, and the caret stays below its position', () => {
  const [shown = '', caret = ''] = codeFrameOf('\x1b[2J\t!', 1, 6)!.split('\n')
  assert.ok(!shown.includes('\x1b'))
  assert.equal(shown[caret.indexOf('^')], '!')
})
