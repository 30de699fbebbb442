import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inCell, valueOf } from './in-cell.ts'

async function errorOf(code: string, asked = {}) {
  const ran = await inCell(code, asked)
  assert.equal(ran.status, 'error', `${code}: ${ran.resultText}`)
  assert.equal(ran.resultText, 'null')
  return ran.error ?? assert.fail()
}

async function tagged(code: string) {
  const ran = await inCell(code)
  assert.equal(ran.status, 'ok', JSON.stringify(ran.error))
  assert.equal(ran.encoding, 'tagged')
  return JSON.parse(ran.resultText) as unknown
}

test('plain data is returned as JSON, with the text of JSON.stringify', async () => {
  const values = [
    'null',
    'true',
    '-1.5e300',
    '"\\ud800 \\u0000 \\u2028 é"',
    '[]',
    '{}',
    '{"a":[1,{"b":null}],"":0,"ä \\"":"x"}',
  ]
  for (const text of values) {
    const ran = await inCell('return input', { input: JSON.parse(text) })
    assert.equal(ran.encoding, 'json')
    assert.equal(ran.resultText, JSON.stringify(JSON.parse(text)))
  }
})

test('values that plain JSON would lose are returned tagged', async () => {
  assert.deepEqual(await tagged('return new Date(0)'), {
    $type: 'Date',
    value: '1970-01-01T00:00:00.000Z',
  })
  assert.deepEqual(await tagged('return new Date(NaN)'), { $type: 'Date', value: null })
  assert.deepEqual(await tagged('return new Map([[{ a: 1 }, new Set([1, "x"])]])'), {
    $type: 'Map',
    value: [[{ a: 1 }, { $type: 'Set', value: [1, 'x'] }]],
  })
  assert.deepEqual(await tagged('return -(2n ** 70n)'), {
    $type: 'BigInt',
    value: '-1180591620717411303424',
  })
  assert.deepEqual(
    await tagged('return [NaN, Infinity, -Infinity, -0]'),
    ['NaN', 'Infinity', '-Infinity', '-0'].map((value) => ({ $type: 'number', value })),
  )
  assert.deepEqual(await tagged('return { a: undefined, b: [, undefined, 1] }'), {
    a: { $type: 'undefined' },
    b: [{ $type: 'undefined' }, { $type: 'undefined' }, 1],
  })
})

const bytes = (value: string) => ({ $type: 'bytes', value })

test('bytes are returned as base64: buffers, views and parts of them', async () => {
  const code = `
    const buffer = new Uint8Array([0, 1, 2, 250, 251, 252, 253]).buffer
    return [buffer, new Uint8Array(buffer, 1, 3), new DataView(buffer, 5), new Uint16Array(buffer, 2, 1), new Uint8Array(0)]`
  assert.deepEqual(await tagged(code), [
    bytes('AAEC+vv8/Q=='),
    bytes('AQL6'),
    bytes('/P0='),
    bytes('Avo='),
    bytes(''),
  ])
})

test('a key $type of the user is unchanged in JSON and wrapped in tagged results', async () => {
  assert.deepEqual(await valueOf('return { $type: "Date", value: 1 }'), { $type: 'Date', value: 1 })
  assert.deepEqual(await tagged('return { x: { $type: "Date", value: 1 }, big: 1n }'), {
    x: {
      $type: 'object',
      value: [
        ['$type', 'Date'],
        ['value', 1],
      ],
    },
    big: { $type: 'BigInt', value: '1' },
  })
})

test('an own key __proto__ changes no prototype, and is returned as a pair', async () => {
  const code = `const own = JSON.parse('{"__proto__": {"admin": true}}')
    return [own, typeof own.admin, typeof {}.admin]`
  assert.deepEqual(await tagged(code), [
    { $type: 'object', value: [['__proto__', { admin: true }]] },
    'undefined',
    'undefined',
  ])
})

test('an instance of a class is returned as its own enumerable string keys', async () => {
  const code = `
    class Point { x = 1; #y = 2; get z() { return 3 } }
    return [new Point(), Object.create({ inherited: 1 }, { own: { value: 1, enumerable: true }, hidden: { value: 2 } }), Object.assign(Object.create(null), { bare: 1 })]`
  assert.deepEqual(await valueOf(code), [{ x: 1 }, { own: 1 }, { bare: 1 }])
})

test('an object with a toJSON is returned as JSON.stringify writes it', async () => {
  const code = `
    class Money { constructor(n) { this.n = n } toJSON() { return this.n + ' EUR' } }
    class Rich extends Money { toJSON(key) { return { key, own: super.toJSON(), inner: new Money(2) } } }
    class Self { a = 1; toJSON() { return this } }
    class Again { toJSON() { return new Money(3) } }
    return {
      money: new Money(1), list: [new Rich(1), { toJSON: (key) => key }], self: new Self(), again: new Again(),
      url: new URL('https://a.example/b'), data: { toJSON: 'text' }, none: { toJSON: () => null },
      day: Temporal.PlainDate.from('2026-01-02'), bare: Object.assign(Object.create(null), { toJSON: () => 7 }),
      spread: { b: 2, toJSON() { return { ...this } } }, instead: { toJSON: () => new Money(4) },
    }`
  const ran = await inCell(
    `const make = () => { ${code} }; console.log(JSON.stringify(make())); return make()`,
  )
  assert.equal(ran.resultText, ran.stdout.trimEnd(), JSON.stringify(ran.error))
  assert.equal(ran.encoding, 'json')
})

test('data with a form of its own keeps it beside a toJSON, and one on Object.prototype is not called', async () => {
  const code = `
    Object.prototype.toJSON = Array.prototype.toJSON = Date.prototype.toJSON = Map.prototype.toJSON = () => 'spoiled'
    return [new Date(0), new Map([[1, { a: 1 }]]), Object.assign([2], { toJSON: () => 'no' }), { toJSON: undefined }, { toJSON: () => new Date(1) }, { toJSON() {} }]`
  assert.deepEqual(await tagged(code), [
    { $type: 'Date', value: '1970-01-01T00:00:00.000Z' },
    { $type: 'Map', value: [[1, { a: 1 }]] },
    [2],
    { toJSON: { $type: 'undefined' } },
    { $type: 'Date', value: '1970-01-01T00:00:00.001Z' },
    { $type: 'undefined' },
  ])
})

/** Results whose toJSON is hostile, and the code of their end. */
const HOSTILE = [
  ['return { a: { toJSON() { throw new RangeError("no") } } }', 'USER_ERROR'],
  ['return { get toJSON() { throw new RangeError("no") } }', 'USER_ERROR'],
  ['const o = { toJSON: () => ({ o }) }; return o', 'RESULT_CIRCULAR'],
  ['const list = [{ toJSON: () => list }]; return list', 'RESULT_CIRCULAR'],
  ['const next = () => ({ toJSON: () => [next()] }); return next()', 'RESULT_TOO_DEEP'],
  [
    'const more = () => ({ toJSON: () => ["x".repeat(1e5), more(), more()] }); return more()',
    'RESULT_TOO_LARGE',
  ],
  ['return { toJSON: () => () => 1 }', 'RESULT_NOT_SERIALISABLE'],
  [
    'return new Proxy({}, { getPrototypeOf() { return this.p ??= new Proxy({}, this) } })',
    'RESULT_NOT_SERIALISABLE',
  ],
] as const

test('a hostile toJSON ends as an error, and its own names are in the path', async () => {
  for (const [code, expected] of HOSTILE) {
    const ran = await inCell(code)
    assert.equal(ran.error?.code, expected, code)
  }
  const { message } = await errorOf('return { a: { toJSON: () => [1, { b: Symbol() }] } }')
  assert.match(message, /"result\.a\[1\]\.b" holds a symbol/)
  const looping = await inCell('return { toJSON() { for (;;); } }', { timeoutMs: 100 })
  assert.equal(looping.status, 'timeout')
})

test('boxed primitives are returned as primitives', async () => {
  assert.deepEqual(await valueOf('return [Object(1), Object("s"), Object(false)]'), [1, 's', false])
})

test('the same object twice is not circular', async () => {
  assert.deepEqual(await valueOf('const a = { n: 1 }; return [a, a, { a }]'), [
    { n: 1 },
    { n: 1 },
    { a: { n: 1 } },
  ])
})

test('a circular reference is refused with its path', async () => {
  const error = await errorOf('const a = { list: [{}] }; a.list[0]["odd key"] = a; return a')
  assert.equal(error.code, 'RESULT_CIRCULAR')
  assert.match(error.message, /result\.list\[0\]\["odd key"\]/)
  assert.equal(
    (await errorOf('const m = new Map(); m.set(1, m); return m')).code,
    'RESULT_CIRCULAR',
  )
})

test('functions and symbols are refused with their path', async () => {
  const error = await errorOf('return { a: { b: () => 1 } }')
  assert.equal(error.code, 'RESULT_NOT_SERIALISABLE')
  assert.match(error.message, /"result\.a\.b" holds a function/)
  assert.match((await errorOf('return Symbol("s")')).message, /"result" holds a symbol/)
  assert.match((await errorOf('return [Object(Symbol())]')).message, /"result\[0\]" holds a symbol/)
})

const nested = (levels: number) =>
  `let a = 1; for (let i = 0; i < ${levels}; i++) a = [a]; return a`

test('a result deeper than 512 levels is refused', async () => {
  assert.equal((await inCell(nested(512))).status, 'ok')
  assert.equal((await errorOf(nested(513))).code, 'RESULT_TOO_DEEP')
  assert.equal((await errorOf(nested(100_000))).code, 'RESULT_TOO_DEEP')
})

test('the size of a result is measured in bytes of UTF-8', async () => {
  assert.equal((await inCell('return "é".repeat(49)', { resultBytesMax: 100 })).status, 'ok')
  const error = await errorOf('return "é".repeat(50)', { resultBytesMax: 100 })
  assert.equal(error.code, 'RESULT_TOO_LARGE')
})

test('a result bomb of shared arrays is refused at the limit, before it is serialised', async () => {
  const code = 'let a = []; for (let i = 0; i < 60; i++) a = [a, a, a, a]; return a'
  const ran = await inCell(code, { resultBytesMax: 10_000 })
  assert.equal(ran.error?.code, 'RESULT_TOO_LARGE')
  // CPU time, not wall time: other tests share the cores.
  assert.ok(ran.cpuTimeMs < 1000, `${ran.cpuTimeMs} ms`)
})

test('a huge string, a huge BigInt, a long sparse array and an endless map are refused at the limit', async () => {
  const bombs = [
    'return "x".repeat(5e8)',
    'return 2n ** 4_000_000n',
    'return new Array(4e9)',
    'return new Uint8Array(4e7)',
    'const m = new Map(); const o = { get a() { m.set(m.size, o); return 1 } }; m.set("first", o); return m',
  ]
  for (const code of bombs) assert.equal((await errorOf(code)).code, 'RESULT_TOO_LARGE', code)
})

test('a getter that throws ends the job with its error', async () => {
  const error = await errorOf('return { get a() { throw new RangeError("from a getter") } }')
  assert.deepEqual(
    [error.code, error.name, error.message],
    ['USER_ERROR', 'RangeError', 'from a getter'],
  )
})

test('proxies are read like any object, and their traps run within the deadline', async () => {
  const code = 'return new Proxy({ a: 1 }, { get: (target, key) => target[key] + 1 })'
  assert.deepEqual(await valueOf(code), { a: 2 })
  const { proxy, code: revoked } = { proxy: 'Proxy.revocable({}, {})', code: 'USER_ERROR' }
  assert.equal((await errorOf(`const r = ${proxy}; r.revoke(); return [r.proxy]`)).code, revoked)
})

const errorValue = (name: string, message: string, more = {}) => ({
  $type: 'Error',
  value: { name, message, stack: `${name}: ${message}`, ...more },
})

test('an error keeps its name, message, stack, causes and own properties, in any place', async () => {
  const code = `
    const made = (error) => { error.stack = error.stack.split('\\n')[0]; return error }
    class Late extends RangeError { name = 'Late'; code = 'ELATE' }
    const first = made(new TypeError('no row 9', { cause: made(new Error('disk')) }))
    return {
      first, all: [made(new AggregateError([made(new Error('a')), 2], 'both'))], late: made(new Late('x')),
      map: new Map([[1, made(new SyntaxError('m'))]]), set: new Set([made(new EvalError('s'))]),
      dom: made(new DOMException('gone', 'AbortError')),
    }`
  assert.deepEqual(await tagged(code), {
    first: errorValue('TypeError', 'no row 9', { cause: errorValue('Error', 'disk') }),
    all: [errorValue('AggregateError', 'both', { errors: [errorValue('Error', 'a'), 2] })],
    late: errorValue('Late', 'x', { code: 'ELATE' }),
    map: { $type: 'Map', value: [[1, errorValue('SyntaxError', 'm')]] },
    set: { $type: 'Set', value: [errorValue('EvalError', 's')] },
    dom: errorValue('AbortError', 'gone'),
  })
})

test('an error as the whole result has the positions of the source in its stack', async () => {
  const { value } = (await tagged('const n = 1\nreturn new RangeError("x")')) as {
    value: { stack: string }
  }
  assert.match(value.stack, /^RangeError: x\n    at job\.js:2:8$/)
  const typed = await inCell('enum A { B }\nreturn new Error("x" + A.B)', { typed: true })
  assert.match(typed.resultText, /at job\.ts:2:8"/)
})

test('an error with hostile properties ends within its bounds', async () => {
  const thrower = 'Object.defineProperty(new Error("x"), "message", { get() { throw 1 } })'
  assert.deepEqual(await tagged(`const e = ${thrower}; e.stack = "own"; return e`), {
    $type: 'Error',
    value: { name: 'Error', message: '', stack: 'own' },
  })
  const looping = 'Object.defineProperty(new Error("x"), "message", { get() { for (;;); } })'
  assert.equal((await inCell(`return ${looping}`, { timeoutMs: 100 })).status, 'timeout')
  const long = 'new Error("x".repeat(3e7))'
  assert.equal((await errorOf(`return ${long}`)).code, 'RESULT_TOO_LARGE')
  assert.equal(
    (await errorOf('const e = new Error("x"); e.cause = [e]; return e')).message,
    'Cannot return the result: "result.cause[0]" contains itself',
  )
  assert.deepEqual(
    await tagged('return Object.assign(new Error("x"), { stack: 1, name: {}, $type: "Date" })'),
    {
      $type: 'Error',
      value: {
        $type: 'object',
        value: [
          ['name', 'Error'],
          ['message', 'x'],
          ['stack', '1'],
          ['$type', 'Date'],
        ],
      },
    },
  )
})

test('a pattern keeps its source and flags, and a query its text', async () => {
  assert.deepEqual(await tagged('return [/x+"/giu, new (class Own extends RegExp {})("")]'), [
    { $type: 'RegExp', value: { source: 'x+"', flags: 'giu' } },
    { $type: 'RegExp', value: { source: '(?:)', flags: '' } },
  ])
  assert.deepEqual(
    await valueOf('return new URLSearchParams({ a: "1 2", b: "ä" })'),
    'a=1+2&b=%C3%A4',
  )
})

test('a promise inside of a result is refused with its path', async () => {
  const error = await errorOf('return { all: [1, Promise.resolve(1)] }')
  assert.equal(error.code, 'RESULT_NOT_AWAITED')
  assert.equal(error.message, 'Cannot return the result: "result.all[1]" is a promise: await it')
  for (const code of [
    'return new Map([[1, (async () => 1)()]])',
    'return new Set([new Promise(() => {})])',
    'class Query { rows = 1; then(done) { done(1) } }; return { q: new Query() }',
  ])
    assert.equal((await errorOf(code)).code, 'RESULT_NOT_AWAITED', code)
})

test('an object whose state no property shows is refused with its path and its class', async () => {
  const opaque = [
    ['WeakMap', 'new WeakMap()'],
    ['WeakSet', 'new WeakSet()'],
    ['Generator', '(function* () {})()'],
    ['Array Iterator', '[1].values()'],
    ['NumberFormat', 'new Intl.NumberFormat("en")'],
    ['Account', 'new (class Account { #rest = 5; get rest() { return this.#rest } })()'],
    ['AbortController', 'new AbortController()'],
    ['Map', 'new Proxy(new Map([[1, 2]]), {})'],
  ]
  for (const [name = '', code = ''] of opaque) {
    const error = await errorOf(`return { a: [${code}] }`)
    assert.equal(error.code, 'RESULT_NOT_SERIALISABLE', code)
    assert.match(error.message, new RegExp(`"result\\.a\\[0\\]" is an instance of [\\w.]*${name} `))
  }
  assert.deepEqual(await valueOf('return [{}, Object.create(null), new Proxy({}, {})]'), [
    {},
    {},
    {},
  ])
})
