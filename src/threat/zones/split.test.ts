import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from '../inspect.ts'
import { shapeOf } from '../shape.ts'
import { splitShape } from './split-shape.ts'

const splitOf = (code: string) =>
  inspect({ code, entry: 'auto', language: 'js', files: [], zones: true }).split!

const namesOf = (code: string) => splitOf(code).zones.map(({ name }) => name)
const whyOf = (code: string, name: string) =>
  splitOf(code).residual.find((one) => one.name === name)?.why

test('S2-4: a plain script without annotations has zones, each with its kind and its lines', () => {
  const code = [
    'const LIMIT = 100',
    'function validate(text) { if (typeof text !== "string") throw new TypeError("no text"); return text.length < LIMIT }',
    'async function load(host) {',
    '  const answer = await fetch("https://" + host)',
    '  return await answer.text()',
    '}',
    'function total(list) { let sum = 0; for (const one of list) sum += one; return sum }',
    'async function unlock(name) { return await call("secrets.read", { name }) }',
    'if (!(await validate(input.host))) return null',
    'const text = await load(input.host)',
    'const key = await unlock("mine")',
    'return { size: await total([text.length, 1]), key }',
  ].join('\n')
  const { zones, residual, calls } = splitOf(code)
  assert.deepEqual(
    zones.map(({ name, kind, line, endLine }) => [name, kind, line, endLine]),
    [
      ['validate', 'input-validation', 2, 2],
      ['load', 'network', 3, 6],
      ['total', 'compute', 7, 7],
      ['unlock', 'secrets', 8, 8],
    ],
  )
  assert.deepEqual(residual, [])
  assert.deepEqual(calls, ['validate', 'load', 'total', 'unlock'])
})

test('a zone is granted exactly the access that its function is seen to use', () => {
  const code = [
    'async function a(x) { return await call("db.read", x) }',
    'async function b(x) { return await call(x) }',
    'function c(x) { return x + 1 }',
    'return [await a(1), await b("y"), await c(1)]',
  ].join('\n')
  assert.deepEqual(
    splitOf(code).zones.map(({ network, capabilities }) => [network, capabilities]),
    [
      [false, ['db.read']],
      [false, 'any'],
      [false, []],
    ],
  )
})

test('a helper goes with its zone as a copy, and a zone awaited by a zone stays a zone', () => {
  const code = [
    'const by = 3',
    'function times(n) { return n * by }',
    'function check(n) { return times(n) > 3 }',
    'async function work(n) { return (await check(n)) ? times(n) : 0 }',
    'return await work(input.n) + times(1)',
  ].join('\n')
  const { zones, calls } = splitOf(code)
  assert.deepEqual(
    zones.map(({ name, calls }) => [name, calls]),
    [
      ['check', []],
      ['work', ['check']],
    ],
  )
  assert.deepEqual(calls, ['work'])
  const kept = (name: string) =>
    zones.find((zone) => zone.name === name)!.keep.map(([from, to]) => code.slice(from, to))
  assert.deepEqual(kept('check'), code.split('\n').slice(0, 3))
})

const stays: readonly (readonly [why: RegExp, code: string])[] = [
  [/"n", which other code shares/, 'let n = 0; function f() { n++; return n }; return await f()'],
  [
    /"box", which other code shares/,
    'const box = {}; box.a = 1; function f() { return box.a }; return await f()',
  ],
  [/"input", which other code shares/, 'function f() { return input.a }; return await f()'],
  [/could reach/, 'function f() { return this === undefined }; return await f()'],
  [/could reach/, 'function f() { return globalThis.x }; return await f()'],
  [/could reach/, 'function f() { return eval("1") }; return await f()'],
  [/could reach/, 'Array.prototype.a = 1; function f() { return [].a }; return await f()'],
  [/could reach/, 'const o = {}; o.__proto__.a = 1; function f() { return 1 }; return await f()'],
  [
    /could reach/,
    'const a = {}; a[input.x][input.y] = 1; function f() { return 1 }; return await f()',
  ],
  [
    /could reach/,
    'const r = a[input.x]; var a = {}; r.z = 1; function f() { return 1 }; return await f()',
  ],
  [
    /could reach/,
    'const k = []["con" + "structor"]; k.a = 1; function f() { return 1 }; return await f()',
  ],
  [/could reach/, 'undeclared = 1; function f() { return 1 }; return await f()'],
  [/"undeclared"/, 'function f() { return undeclared }; return await f()'],
  [/"arguments"/, 'function f() { return arguments.length }; return await f(1)'],
  [/how it was called/, 'function f() { return new.target }; return await f()'],
  [/more than one thing/, 'function f() { return 1 }; return await Promise.all([f(), f()])'],
  [
    /more than one thing/,
    'async function g() {}; g(); function f() { return 1 }; return await f()',
  ],
  [/more than one thing/, 'setTimeout(() => {}, 1); function f() { return 1 }; return await f()'],
  [
    /more than one thing/,
    'const l = [1].map(async (x) => x); function f() { return 1 }; return await f()',
  ],
  [/does not wait/, 'function f() { return 1 }; return f()'],
  [/used as a value/, 'function f() { return 1 }; return [1].map(f)'],
  [/used as a value/, 'function f() { return 1 }; f.cache = 1; return await f()'],
  [/nothing calls it/, 'function f() { return 1 }; return 1'],
  [/more than one value/, 'function f() { return 1 }; function f() { return 2 }; return await f()'],
  [/more than one value/, 'function f() { return 1 }; f = null; return await f()'],
  [/may return what is not plain/, 'function f() { return () => 1 }; return await f()'],
  [/may return what is not plain/, 'function f(x) { return x.toString }; return await f({})'],
  [/handed what is not plain/, 'function f(g) { return 1 }; return await f(() => 1)'],
  [/handed what is not plain/, 'class A {}; function f(g) { return 1 }; return await f(new A())'],
  [
    /handed what is not plain/,
    'function f(g) { return 1 }; const o = {}; o.x = () => 1; return await f(o)',
  ],
  [/may change what it is handed/, 'function f(l) { l.push(1); return 1 }; return await f([1])'],
  [
    /may change what it is handed/,
    'function f(l) { for (l.x of [1]); return 1 }; return await f({})',
  ],
  [/throws what is not/, 'function f() { throw { a: 1 } }; return await f()'],
  [/no zone may have/, 'function main() { return 1 }; return await main()'],
  [/generator/, 'function* f() { yield 1 }; return await f()'],
  [/name is that of a global/, 'function fetch() { return 1 }; return await fetch()'],
  [/another meaning/, 'const call = () => 1; function f() { return 1 }; return await f(call())'],
  [/in a block/, 'function f() { return 1 }; { function f() { return 2 } }; return await f()'],
  [/only made while/, 'let a = 1; const f = () => 1; return await f()'],
  [
    /part of it/,
    'function f(l) { return l }; const a = []; a.push(1); const b = await f(a); a.push(2); return b.length',
  ],
  [/which of its objects/, 'function f(l) { return l }; const a = [1]; return (await f(a)) === a'],
  [
    /more than one name/,
    'function f(l) { return l }; const a = [{}]; const b = await f(a); b[0].x = 1; return a',
  ],
  [
    /by way of another zone/,
    'async function f(n) { return n > 0 ? await g(n - 1) : 0 }; async function g(n) { return n > 0 ? await f(n - 1) : 1 }; return await f(3) + await g(1)',
  ],
]

for (const [why, code] of stays) {
  test(`never a zone, since ${why.source}: ${code}`, () => {
    const { zones, residual } = splitOf(code)
    assert.equal(
      zones.some(({ name }) => name === 'f'),
      false,
    )
    const [first] = residual
    assert.match(residual.find(({ name }) => name === 'f')?.why ?? first!.why, why)
  })
}

test('an export may have unknown callers, and stays', () => {
  const code = 'export function f() { return 1 }\nexport default async () => await f()'
  assert.equal(whyOf(code, 'f'), 'it is exported')
})

test('a module and a handler have zones too, and a source that is one function has none', () => {
  const one = 'function f(n) { return n + 1 }\n'
  assert.deepEqual(namesOf(`${one}export default async (input) => await f(input.a)`), ['f'])
  const handler = `${one}exports.handler = async (event) => await f(event.a)`
  const found = inspect({ code: handler, entry: 'handler', files: [], zones: true, language: 'js' })
  assert.deepEqual(
    found.split!.zones.map(({ name }) => name),
    ['f'],
  )
  assert.deepEqual(splitOf('async (input) => input'), { zones: [], residual: [], calls: [] })
})

test('a source that is one named function has it in the residual zone, with the reason', () => {
  const why = 'a source that is one function is one zone'
  for (const [code, language] of [
    ['function parseAmount(x) {\n  return +x\n}', 'js'],
    ['(async function parseAmount(x) {\n  return +x\n});', 'js'],
    ['function parseAmount(x: string): number {\n  return +x\n}', 'ts'],
    ['function parseAmount(x) {\n  return +x\n}', 'node'],
  ] as const) {
    const found = inspect({ code, entry: 'function', language, files: [], zones: true })
    const kept = { name: 'parseAmount', kind: 'parsing', line: 1, endLine: 3, why }
    assert.deepEqual(found.split, { zones: [], residual: [kept], calls: [] }, code)
  }
  for (const code of [
    '(x) => +x',
    'async function (x) { return +x }',
    '(function (x) { return +x })',
  ])
    assert.deepEqual(splitOf(code), { zones: [], residual: [], calls: [] }, code)
})

test('a program whose parts overflow the stack has no split, which would say that it has no functions', () => {
  const source = 'function f(n) { return n }\nreturn await f(1)'
  const shape = shapeOf(source, 'body')
  assert.ok(shape.kind === 'shape')
  const deep = new Proxy([], {
    get() {
      throw new RangeError('Maximum call stack size exceeded')
    },
  })
  assert.equal(splitShape(shape, deep as never, { source, language: 'js' }), undefined)
})

test('S2-20: zones are reported only on request', () => {
  const code = 'function f() { return 1 }; return await f()'
  assert.equal('split' in inspect({ code, entry: 'auto', files: [] }), false)
})

test('heavily entangled sources are answered in bounded work', () => {
  const names = Array.from({ length: 200 }, (_, index) => `f${index}`)
  const code = names
    .map(
      (name) =>
        `async function ${name}(a) { return ${names.map((to) => `await ${to}(a)`).join('+')} }`,
    )
    .join('\n')
  const found = inspect({
    code: `${code}\nreturn await f0(1)`,
    entry: 'body',
    files: [],
    zones: true,
  }).split!
  assert.equal(found.zones.length, 0)
  assert.equal(found.residual.length, 200)
})
