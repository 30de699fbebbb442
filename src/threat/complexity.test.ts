import assert from 'node:assert/strict'
import { test } from 'node:test'
import { complexityOf } from './complexity.ts'
import { inspect } from './inspect.ts'
import { parse } from './parse.ts'
import { bindScopes } from './scope.ts'

/** Expected values from ESLint's rule `complexity`, per function in source order. */
const fixtures: readonly (readonly [string, readonly number[]])[] = [
  ['function a() {}', [1]],
  ['function a(x) { if (x) return 1; return 2 }', [2]],
  ['function a(x) { if (x) { return 1 } else if (!x) { return 2 } else { return 3 } }', [3]],
  ['const a = (x) => (x ? 1 : 2)', [2]],
  ['const a = (x, y) => x && y || x', [3]],
  ['const a = (x) => x ?? 1', [2]],
  ['function a(x = 1, { y = 2 } = {}) {}', [4]],
  ['const a = (x) => x?.b?.[1]?.()', [4]],
  ['function a(x) { x ||= 1; x &&= 2; x ??= 3; x += 4 }', [4]],
  ['function a(x) { for (;;) {} for (const i of x) {} for (const i in x) {} }', [4]],
  ['function a(x) { while (x) {} do {} while (x) }', [3]],
  ['function a(x) { switch (x) { case 1: case 2: break; default: } }', [3]],
  ['function a() { try { a() } catch { a() } finally { a() } }', [2]],
  ['function a(x) { return function b(y) { if (y) return x } }', [1, 2]],
  ['class A { m(x) { return x ? 1 : 2 } static { if (A) A() } }', [2, 2]],
  ['class A { x = a || b; y = (z) => z && 1 }', [2, 1, 2]],
  ['class A { x = 1; #y = 2; z }', [1, 1]],
  ['const o = { get a() { return 1 }, b() {}, c: () => {} }', [1, 1, 1]],
  ['async function* a(x) { for await (const y of x) yield y }', [2]],
  ['function a(x) { return x ? (x > 1 ? (x > 2 ? 3 : 2) : 1) : 0 }', [4]],
]

for (const [source, expected] of fixtures) {
  test(`S3-22: complexity equals ESLint's number: ${source}`, () => {
    const parsed = parse(source, 'module')
    assert.equal(parsed.kind, 'parsed')
    const { functions } = complexityOf(
      bindScopes(parsed.kind === 'parsed' ? parsed.program : never()),
    )
    const inOrder = functions
      .toSorted((a, b) => a.start - b.start)
      .map(({ complexity }) => complexity)
    assert.deepEqual(inOrder, expected)
  })
}

function never(): never {
  throw new Error('unreachable')
}

const scoreOf = (code: string) =>
  inspect({ code, language: 'js', entry: 'auto', files: [] }).complexityScore

test('a source that is one function scores what ESLint reports for it', () => {
  assert.equal(scoreOf('(x) => x ? 1 : x && 2'), 3)
})

test('a body counts as a function, and so do the functions in it', () => {
  assert.equal(scoreOf('return 1'), 1)
  assert.equal(scoreOf('if (input) return 1'), 2)
  assert.equal(scoreOf('const f = (x) => x || 1; return f(input)'), 3)
})
