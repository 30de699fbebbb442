import assert from 'node:assert/strict'
import { Console } from 'node:console'
import { readFileSync } from 'node:fs'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { format, inspect } from 'node:util'
import { runInThisContext } from 'node:vm'
import { expression } from '../../guest/cell/parts.js'
import { P } from '../../guest/realm/primordials.js'
import { inCell } from './in-cell.ts'

/** Compares console output with Node's: a program prints the same as outside. */
const source = readFileSync(new URL('../../guest/realm/inspect.js', import.meta.url), 'utf8')
const makeInspect = runInThisContext(expression(source)) as (scope: object) => {
  inspect: (value: unknown) => string
  format: (args: readonly unknown[]) => string
}
const { inspect: own, format: formatted } = makeInspect({
  P,
  ask: (_op: string, stack: string) => stack,
})
/** Longer texts are truncated by the realm. */
const comparedUnitsMax = 10_000
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)
const rounds = process.env['MAYFLY_LONG'] === undefined ? 3000 : 200_000

test('values are printed as Node prints them', (t) => {
  t.diagnostic(`MAYFLY_SEED=${seed}`)
  const random = randomFrom(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const texts = [
    '',
    'a',
    "it's",
    `"both" and 'one'`,
    '`${x}` \' "',
    'ab\ncd',
    '\u0007\u007f\\',
    'long '.repeat(9),
    'lines\n'.repeat(20),
    '日本',
    '\ud83d',
  ]
  const keys = ['a', 'name', 'with space', '0', 'é', 'veryLongPropertyName', 'x-y']
  const leaf = (): unknown =>
    pick([
      () => Math.floor(random() * 1000),
      () => random() * 100,
      () => -0,
      () => pick(texts),
      () => true,
      () => null,
      () => undefined,
      () => 12n,
      () => Symbol('s'),
      () => new Date(0),
      () => /a/g,
    ])()
  const value = (level: number): unknown => {
    const size = Math.floor(random() * pick([3, 8, 30, 120]))
    const some = <T>(make: () => T) => Array.from({ length: level > 2 ? size % 9 : size }, make)
    const inner = () => (level > 3 || random() < 0.7 ? leaf() : value(level + 1))
    return pick<() => unknown>([
      leaf,
      () => some(inner),
      () => some(() => Math.floor(random() * pick([10, 1000, 1e6]))),
      () => some(() => pick(texts)),
      () => Object.fromEntries(some(() => [pick(keys), inner()])),
      () => new Map(some(() => [inner(), inner()])),
      () => new Set(some(inner)),
      () => new Uint8Array(some(() => random() * 255)),
      () =>
        new (class Named {
          first = inner()
          second = inner()
        })(),
      () => Object.assign(Object.create(null), { a: inner() }),
    ])()
  }
  for (let round = 0; round < rounds; round++) {
    const made = value(0)
    const expected = inspect(made)
    if (expected.length > comparedUnitsMax) continue
    assert.equal(own(made), expected, `MAYFLY_SEED=${seed}, value ${round}`)
  }
})

test('forged, throwing and endless values are printed within limits, without running their code', () => {
  const throws = () => {
    throw new Error('trap')
  }
  const huge = () => Object.assign([], { length: 2 ** 32 - 1 })
  const hostile: unknown[] = [
    new Proxy([], { ownKeys: throws, get: throws, getOwnPropertyDescriptor: throws, has: throws }),
    new Proxy([1], { get: (_, key) => (key === 'length' ? 2 ** 32 : throws()) }),
    Object.defineProperty([1, 2, 3, 4, 5, 6, 7], '3', { get: throws, enumerable: true }),
    {
      toString: throws,
      [Symbol.toPrimitive]: throws,
      get a() {
        return throws()
      },
    },
    Array.from({ length: 200 }, () => huge()),
    huge(),
    Array.from({ length: 9 }, () => 'x'.repeat(2 ** 20)),
  ]
  for (const one of hostile) assert.ok(own(one).length < 200_000)
  assert.equal(formatted(['%s', hostile[0]]), '[unreadable]')
  assert.equal(own(hostile[2]), inspect(hostile[2]))
  assert.equal(own(hostile[0]), '[unreadable]')
})

/** Numbers from 0 to 1 by a linear congruential generator (Numerical Recipes). */
function randomFrom(start: number): () => number {
  let state = start >>> 0
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32
}

test('the custom inspect function of a class is called, and cannot break the printer', () => {
  const custom = Symbol.for('nodejs.util.inspect.custom')
  const says = (told: () => unknown) => ({ amount: 5, [custom]: told })
  assert.equal(own(says(() => 'Money<5>')), 'Money<5>')
  assert.equal(own([says(() => ({ a: 1 }))]), inspect([says(() => ({ a: 1 }))]))
  const self: Record<symbol, () => unknown> = { [custom]: () => self }
  assert.doesNotThrow(() => own(self))
  const throws = says(() => {
    throw new Error('no')
  })
  assert.equal(own(throws), '[unreadable]')
  const endless = (): unknown => says(endless)
  assert.ok(own(endless()).length < 100_000)
  assert.ok(own(says(() => 'x'.repeat(10_000_000))).length < 100_000)
  const getter = Object.defineProperty({}, custom, {
    get() {
      throw new Error('asked')
    },
  })
  assert.doesNotThrow(() => own(getter))
})

test('%s prints one level of an object, a toString of its own, and the source of a function', () => {
  class Nested {
    inner = { deep: { deeper: 1 } }
  }
  class Named {
    toString() {
      return 'named'
    }
  }
  const values = [
    [1, { a: 2 }],
    { a: { b: 1 } },
    new Nested(),
    new Named(),
    { toString: 1 },
    { toString: () => 7 },
    new Date(0),
    /a/g,
    new Map([[1, { a: 1 }]]),
    Object.create(null),
    (a: number) => a + 1,
    // oxlint-disable-next-line no-extraneous-class
    class Empty {},
    Symbol('s'),
    -0,
    12n,
    undefined,
    null,
    true,
  ]
  for (const value of values) {
    const template = '<%s> %s and'
    assert.equal(
      formatted([template, value, 'text', value]),
      format(template, value, 'text', value),
    )
  }
})

/** Programs of which a cell prints the same as Node. */
const printing = [
  `const e = new Error('outer', { cause: new TypeError('inner') })
   e.stack = 'Error: outer\\n    at x'; e.cause.stack = 'TypeError: inner\\n    at y'
   console.log(e); console.log({ e }, [e])`,
  `const e = new AggregateError([new Error('a'), 'b'], 'many')
   e.stack = 'AggregateError: many\\n    at x'; e.errors[0].stack = 'Error: a\\n    at y'; e.code = 4
   console.log({ e })`,
  "const e = new Error('x', { cause: { a: 1 } }); delete e.stack; console.log([e])",
  "console.log(new URL('http://u:p@a.b:8/c?d=1#e'), [new URLSearchParams('f=1&g=h'), new URLSearchParams()])",
  'const a = { n: 1, inner: { x: {} } }; a.inner.x.up = a.inner; a.inner.top = a; console.log(a, a)',
  'const a = {}, b = { a }; a.b = b; console.log([a, b, a]); const l = [1]; l.push(l); console.log(l, { l })',
  'const m = new Map(); m.set("me", m).set(m, 1); const s = new Set(); s.add(s); const f = () => 1; f.self = f; console.log(m, s, f)',
  'const long = { name: "n".repeat(56) }; long.s = long; console.log(long); long.name += "nn"; console.log(long)',
  `const e = new Error('x'); e.stack = 'Error: x\\n    at y'; e.self = e; console.log(e); e.cause = e; console.log([e])`,
  'class A extends Array {} class M extends Map {} class S extends Set {} console.log(A.of(1), new A(), new M([[1, 2]]), new M(), [new S([1])], [[[[new M([[1, 2]])]]]])',
  'class U extends Uint8Array {} class D extends Date {} class R extends RegExp {} console.log(new U(2), new D(0), new R("a"), new (class F extends Function {})())',
  `class E extends Error {} class MyError extends TypeError { name = 'MyError'; code = 7 }
   const list = [new E('m'), new MyError('n'), Object.assign(new Error('o'), { name: 'Renamed' }), Object.create(Error.prototype)]
   for (const e of list) { if (e.stack) e.stack = e.stack.split('\\n')[0] + '\\n    at x'; console.log(e, [e]) }
   list[0].stack = 'no frame'; console.log(list[0])`,
  `let e = new Error('0'); e.stack = 'Error: 0\\n    at x'
   for (let i = 1; i < 9; i++) { e = new Error(i, { cause: e }); e.stack = 'Error: ' + i + '\\n    at x' }
   console.log(e); console.log({ a: { b: { c: e, d: e.cause, f: new RangeError('plain') } } }.a.b.d)`,
  `const e = new AggregateError([1], 'm', { cause: 2 }); e.stack = 'AggregateError: m\\n    at x'; console.log(e)`,
  `const e = new DOMException('m', 'AbortError'); Object.defineProperty(e, 'stack', { value: 'AbortError: m\\n    at x' }); console.log(e, [e])`,
  'class B {} class C extends B { static x = 1 } console.log(C, B, class {}, class extends B {}, C.prototype, new C(), Object.create(new C()))',
  'console.log(Object.setPrototypeOf([1], null), Object.setPrototypeOf(new Map([[1, 2]]), null), Object.setPrototypeOf(() => {}, null), [[[[Object.create(null, { a: { value: 1, enumerable: true } })]]]])',
  'console.log(JSON, Math, (function* () {})(), { [Symbol.toStringTag]: "Own", [Symbol("k")]: 1, $x: 2 }, new (class X { get [Symbol.toStringTag]() { return "Y" } })())',
  'console.log(new WeakMap(), new WeakSet(), new ArrayBuffer(4), [new ArrayBuffer(101)], new DataView(new Uint8Array([1, 254]).buffer, 1), Temporal.PlainDate.from("2026-01-02"), new Intl.NumberFormat("en"))',
  'console.table("text"); console.table(5); console.table(null)',
  'const deep = { a: { b: { c: { d: { e: { f: 1 } } } } } }; for (const depth of [0, 1, 4, null, Infinity]) console.dir(deep, { depth })',
]

test('circles, subclasses, errors, tags, buffers, URLs and console.dir with a depth are printed as Node prints them', async () => {
  for (const code of printing) {
    let outside = ''
    const stream = new Writable({
      write(chunk, _encoding, done) {
        outside += String(chunk)
        done()
      },
    })
    const program = runInThisContext(`(console) => {${code}}`) as (console: Console) => void
    program(new Console(stream))
    const ran = await inCell(code)
    assert.equal(ran.stdout, outside, code)
    assert.equal(ran.status, 'ok', code)
  }
})

test('console.table has a row for each entry of a map, and for each item of a set', async () => {
  const { stdout } = await inCell(
    "console.table(new Map([['key', 'value']])); console.table(new Set(['item']))",
  )
  const rows = stdout.split('\n').filter((line) => line.includes("'"))
  assert.deepEqual(
    rows.map((line) => line.replaceAll(' ', '')),
    ["│0│'key'│'value'│", "│0│'item'│"],
  )
})
