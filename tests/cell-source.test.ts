import assert from 'node:assert/strict'
import { test } from 'node:test'
import vm from 'node:vm'
import { scriptOf } from '../guest/cell/source.js'
import { cellShapeOf } from '../src/threat/cell-shape.ts'

/** Runs cells in sequence in one global scope, as a session does; returns the value of the last one. */
async function valueOf(...cells: readonly string[]): Promise<unknown> {
  const evaluate = vm.runInNewContext('eval') as (code: string) => unknown
  let value: unknown
  for (const cell of cells) value = await evaluate(made(cell).code)
  return value
}

function made(code: string) {
  const shape = cellShapeOf(code, 'js')
  assert.equal(shape.kind, 'shape', `${code}: ${shape.kind === 'error' && shape.message}`)
  assert.ok(shape.plan)
  return scriptOf(code, { ...shape.plan, edits: shape.plan.edits.map((edit) => [...edit]) })
}

test('Names declared by a cell persist, and may be declared again', async () => {
  const cases: readonly (readonly [readonly string[], unknown])[] = [
    [['const x = 20', 'x + 1'], 21],
    [['const x = 20', 'const x = 30', 'let x = 40; x'], 40],
    [['let x = 1', 'let x', 'x'], undefined],
    [['let x = 1, { a, b: [c] } = { a: 2, b: [3] }', '[x, a, c].join()'], '1,2,3'],
    [['class A { n = 1 }\n[2]', 'class A { n = 3 }', 'new A().n'], 3],
    [['class A {}\n;[1].map(String)[0]'], '1'],
    [['function f() { return g() }', 'const g = () => 7', 'f()'], 7],
    [['const g = () => 1\nconst f = () => g()', 'const g = () => 2', 'f()'], 2],
    [['const f = () => {}', 'f.name'], 'f'],
    [['for (var i = 0; i < 3; i++);', 'i'], 3],
    [['{ let inner = 1 }', 'typeof inner'], 'undefined'],
    [['var x = 1', 'var x', 'x'], 1],
    [['const \\u0061b = 5', 'ab'], 5],
    [['"use strict"\nconst y = 1', 'y'], 1],
  ]
  for (const [cells, value] of cases)
    assert.equal(await valueOf(...cells), value, cells.join(' | '))
})

test('Names of a cell with await persist as well', async () => {
  const cases: readonly (readonly [readonly string[], unknown])[] = [
    [['const x = await 20', 'x'], 20],
    [['let { a, ...rest } = await { a: 1, b: 2 }, n', '[a, rest.b, n].join()'], '1,2,'],
    [['await f()\nasync function f() { return h() }\nfunction h() { return 3 }', 'h()'], 3],
    [['class A { static n = 4 }\nawait 0', 'A.n'], 4],
    [['for (var i = 0; i < 2; i++) await 0\nif (i) var j = 5, k', '[i, j, k].join()'], '2,5,'],
    [['for (var v of [1, 2]) await v', 'v'], 2],
    [['for await (const v of [1]) var last = v', 'last'], 1],
    [['const x = 1\nawait (x + 1)'], 2],
    [['await 1; "two" // three'], 'two'],
    [['await 1\n;(1, 2)'], 2],
    [['await 1\nlet last = 3'], undefined],
    [['return 5'], 5],
  ]
  for (const [cells, value] of cases)
    assert.equal(await valueOf(...cells), value, cells.join(' | '))
})

test('A cell of one object literal is an object, not a block', async () => {
  assert.deepEqual({ ...((await valueOf('{ a: 1, b: 2 }')) as object) }, { a: 1, b: 2 })
  assert.deepEqual({ ...((await valueOf(' { a: 1 }\n')) as object) }, { a: 1 })
  assert.equal(await valueOf('{ 7 }'), 7)
})

test('Imports become calls of the loader, and exports are refused with their position', () => {
  const { code } = made("import a, { b as c } from './x.js'\nc")
  assert.match(code, /^var a,c;\(async\(\)=>\{0,\{ default: a, b: c \} = await \$load\$\('.\/x.js'/)
  assert.match(code, /\nreturn\(c\)\n\}\)\(\)$/)
  const shape = cellShapeOf('const a = 1\nexport { a }', 'js')
  assert.ok(shape.kind === 'error')
  assert.deepEqual([shape.offset, /exports nothing/.test(shape.message)], [12, true])
})

test('Positions in the script are mapped to positions in the cell', () => {
  const cell = 'const a = 1; class B {}; null.f\nawait 1\nb()'
  const { code, place } = made(cell)
  for (const word of ['null.f', 'b()', 'class B']) {
    const before = code.slice(0, code.lastIndexOf(word)).split('\n')
    const own = cell.slice(0, cell.indexOf(word)).split('\n')
    const at = (lines: readonly string[]) => ({
      line: lines.length,
      column: lines.at(-1)!.length + 1,
    })
    assert.deepEqual(place?.(at(before).line, at(before).column), at(own), word)
  }
  assert.equal(place?.(1, 1), undefined)
  assert.equal(made('const a = 1').place, undefined)
})

test('A plan that does not match the code is refused', () => {
  const plans: readonly (readonly [string, number, number][])[] = [
    [['lexical', 0, 99]],
    [['lexical', 5, 4]],
    [
      ['lexical', 3, 6],
      ['lexical', 0, 3],
    ],
    [
      ['lexical', 0, 5],
      ['lexical', 3, 6],
    ],
    [
      ['import', 0, 9],
      ['lexical', 3, 6],
    ],
  ]
  for (const edits of plans)
    assert.throws(() => scriptOf('const a = 1', { awaits: false, edits: [...edits] }), RangeError)
})
