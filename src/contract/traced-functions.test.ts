import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tracedFunctions } from './traced-functions.ts'

/** Beginnings of functions, with the expected name. */
const beginnings: readonly (readonly [before: string, text: string, name: string])[] = [
  ['', 'function plain() {}', 'plain'],
  ['', 'async function* many() {}', 'many'],
  ['(', 'function () {}', ''],
  ['const held = ', 'function () {}', 'held'],
  ['const arrow = ', '(a) => a', 'arrow'],
  ['let late = ', 'async (a) => a', 'late'],
  ['x = { key: ', 'async function () {}', 'key'],
  ['x = { ', 'method() {}', 'method'],
  ['x = { ', 'async method() {}', 'method'],
  ['class A { ', 'static async *steps() {}', 'steps'],
  ['class A { ', 'get size() { return 1 }', 'size'],
  ['class A { ', '#hidden() {}', '#hidden'],
  ['list.map(', 'x => x + 1', ''],
  ['list.map(', '(x) => x + 1', ''],
]

test('A function has the name and the lines that its source gives it', () => {
  for (const [before, text, name] of beginnings) {
    const code = `first\r\nsecond\u2028${before}${text}\n}`
    const start = code.indexOf(before + text) + before.length
    assert.deepEqual(
      tracedFunctions(code, [{ start, end: start + text.length, calls: 3 }]),
      [{ zone: 'main', name, line: 3, endLine: 3, calls: 3 }],
      before + text,
    )
  }
})

test('Functions are listed in source order, and positions beyond the source are dropped', () => {
  const code = 'function a() {\n return () => 1\n}\nfunction b() {}'
  const told = tracedFunctions(code, [
    { start: code.indexOf('function b'), end: code.length, calls: 1, zone: 'b' },
    { start: code.indexOf('() => 1'), end: code.indexOf('() => 1') + 7, calls: 2 },
    { start: 0, end: 32, calls: 1 },
    { start: 3, end: 5000, calls: 1 },
    { start: 9, end: 9, calls: 1 },
    { start: 9, end: 4, calls: 1 },
  ])
  assert.deepEqual(
    told.map(({ zone, name, line, endLine }) => [zone, name, line, endLine]),
    [
      ['main', 'a', 1, 3],
      ['main', '', 2, 2],
      ['b', 'b', 4, 4],
    ],
  )
})
