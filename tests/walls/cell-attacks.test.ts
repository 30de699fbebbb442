import assert from 'node:assert/strict'
import { test } from '../fixtures/drawn.ts'
import { inCell, inCellApart, valueOf } from './in-cell.ts'

const TIMEOUT_MS = 150
const LATE_MS_MAX = 1000
/** Retries: a stall of the machine does not repeat each time. */
const TRIES_MAX = 3

async function timesOut(code: string, asked = {}) {
  const took: number[] = []
  do {
    const ran = await inCell(code, { timeoutMs: TIMEOUT_MS, ...asked })
    assert.equal(ran.status, 'timeout', `${code}: ${ran.status} ${JSON.stringify(ran.error)}`)
    assert.equal(ran.error?.code, 'TIMEOUT')
    assert.ok(ran.executionMs >= TIMEOUT_MS - 2, `${ran.executionMs}`)
    took.push(ran.executionMs)
  } while (took.at(-1)! >= TIMEOUT_MS + LATE_MS_MAX && took.length < TRIES_MAX)
  assert.ok(took.at(-1)! < TIMEOUT_MS + LATE_MS_MAX, took.join())
}

test('S3-3: an endless loop is stopped', () => timesOut('while (1);'))
test('S3-3: a catastrophic regular expression is stopped', () =>
  timesOut('return /^(a+)+$/.test("a".repeat(40) + "b")'))
test('S3-3: an endless chain of microtasks is stopped, also after the result is returned', () =>
  timesOut('(function again() { Promise.resolve().then(again) })(); return 1'))
test('S3-3: an endless async spin is stopped', () => timesOut('for (;;) await null'))
test('S3-3: an endless async generator is stopped', () =>
  timesOut('async function* g() { for (;;) yield 1 } for await (const x of g());'))
test('S3-3: timers that never end are stopped', () =>
  timesOut('await new Promise(() => { setInterval(() => {}, 1) })'))
test('S3-3: a busy loop inside a timer is stopped', () =>
  timesOut('await new Promise(() => { setTimeout(() => { for (;;); }, 1) })'))
test('S3-3: a job that awaits a promise which never settles ends at the deadline', () =>
  timesOut('await new Promise(() => {})'))
test('S3-3: a finally block does not outlive the deadline', () =>
  timesOut('try { for (;;); } finally { for (;;); }'))
test('S3-3: catching everything does not catch the deadline', () =>
  timesOut('for (;;) { try { for (;;); } catch {} }'))
test('S3-3: all event-loop turns of a job share one time limit', () =>
  timesOut(
    'for (;;) { await new Promise((r) => setTimeout(r, 10)); const e = Date.now() + 20; while (Date.now() < e); }',
  ))
test('a getter that loops while the result is serialised is stopped', () =>
  timesOut('return { get a() { for (;;); } }'))
test('a proxy with endless keys is stopped', () =>
  timesOut('return new Proxy({}, { ownKeys() { for (;;); } })'))
test('a job that awaits a thenable which never settles ends at the deadline', () =>
  timesOut('() => ({ then() {} })', { entry: 'function' }))
test('an error whose message loops is stopped', () =>
  timesOut('throw { get message() { for (;;); } }'))
test('prepareStackTrace that loops is stopped', () =>
  timesOut('Error.prepareStackTrace = () => { for (;;); }; throw new Error("x")'))
test('a module that loops at its top level is stopped', () =>
  timesOut('for (;;);', { entry: 'module' }))
test('a looping module that the job imports is stopped', () =>
  timesOut('import "./loop.cjs"', { entry: 'module', files: { 'loop.cjs': 'for (;;);' } }))

test('S3-2: typed arrays, arrays and strings beyond the memory limit end with MEMORY, the process lives', async () => {
  const bombs = [
    'const a = []; for (;;) a.push(new Uint8Array(1e6).fill(1))',
    'const a = []; for (;;) a.push({ a: [] })',
    'let s = "x"; const a = []; for (;;) { s += s.slice(0, 1e5) + Math.random(); a.push(s.split("")) }',
  ]
  for (const code of bombs) {
    const ran = await inCell(code, { memoryMiB: 16, timeoutMs: 10_000 })
    assert.equal(ran.status, 'limit', `${code} ${JSON.stringify(ran.error)}`)
    assert.equal(ran.error?.code, 'MEMORY')
  }
})

test('S3-2: a single allocation beyond the limit ends with MEMORY, or can be caught', async () => {
  const ran = await inCell('return new Uint8Array(1e9).length', { memoryMiB: 16 })
  assert.deepEqual([ran.status, ran.error?.code], ['limit', 'MEMORY'])
  assert.equal(
    await valueOf('try { new Uint8Array(1e9) } catch (e) { return e.name }', { memoryMiB: 16 }),
    'RangeError',
  )
})

test('S3-2: a nested JSON bomb ends with a typed error', async () => {
  const ran = await inCellApart('return JSON.parse("[".repeat(5e6) + "]".repeat(5e6))', {
    memoryMiB: 32,
    timeoutMs: 50_000,
  })
  assert.notEqual(ran, 'killed')
  assert.notEqual(ran !== 'killed' && ran.status, 'ok')
})

test('a source that closes its wrapper function is refused before any of it runs', async () => {
  const sources = [
    '}); console.log("out"); (async function () {',
    '}, console.log("out"), async function () {',
    '} * function () {',
    '}(console.log("out")), function () {',
    '}; console.log("out"); {',
    '/* } */ }); console.log("out"); (async function () { //',
  ]
  for (const code of sources) {
    const ran = await inCell(code)
    assert.equal(ran.status, 'error', code)
    assert.equal(ran.error?.code, 'SYNTAX_ERROR', code)
    assert.equal(ran.stdout, '', code)
    const handler = await inCell(code.replace('async function', 'function'), { entry: 'handler' })
    assert.equal(handler.error?.code, 'SYNTAX_ERROR', code)
  }
})

test('braces inside strings, templates, comments and expressions are accepted', async () => {
  const code = 'const a = "}"; /* } */ const b = `${{ a: "}" }.a}`; // }\nreturn a + b + /}/.source'
  assert.equal(await valueOf(code), '}}}')
})

test('poisoned prototypes reach neither the result nor the error', async () => {
  const poison = `
    const boom = () => { throw new Error('poison') }
    const { defineProperty, create } = Object, { ownKeys } = Reflect
    const trap = Object.assign(create(null), { get: boom, set: boom, configurable: true })
    const prototypes = [Object, Array, Map, Set, String, Function, Promise, Date, RegExp, Uint8Array, Error, Number]
    const targets = prototypes.map((one) => one.prototype)
    for (let at = 0; at < targets.length; at++) {
      const keys = ownKeys(targets[at])
      for (let index = 0; index < keys.length; index++) {
        if (keys[index] === 'constructor' || keys[index] === '__proto__') continue
        try { defineProperty(targets[at], keys[index], trap) } catch {}
      }
    }
    Reflect.apply = Object.keys = JSON.stringify = Object.defineProperty = boom`
  const good = await inCell(`${poison}; return { list: [1, 'two'], flag: true }`)
  assert.equal(good.resultText, '{"list":[1,"two"],"flag":true}')
  const bad = await inCell(`const error = new TypeError('mine'); ${poison}; throw error`)
  assert.deepEqual([bad.error?.name, bad.error?.message], ['TypeError', 'mine'])
})

test('setters on Array.prototype receive no value of the realm', async () => {
  const code = `
    const seen = []
    for (let index = 0; index < 50; index++) {
      Object.defineProperty(Array.prototype, index, { set(value) { seen[seen.length - 0] = 1; globalThis.hit = typeof value }, configurable: true })
    }
    setTimeout(() => {}, 1); setTimeout(() => {}, 2)
    console.log({ a: [1, 2, { b: 3 }] }, new Map([[1, 2]]))
    console.table([{ a: 1 }])
    structuredClone({ a: new Map([[1, { b: 2 }]]) })
    const target = new EventTarget(); target.addEventListener('x', () => {}); target.dispatchEvent(new Event('x'))
    new URL('https://example.com/?a=1').searchParams.append('b', '2')
    return { hit: String(globalThis.hit), nested: { deep: 'x' } }`
  assert.deepEqual(await valueOf(code), { hit: 'undefined', nested: { deep: 'x' } })
})

test('setters on Object.prototype for the keys of internal results are not called', async () => {
  const code = `
    let hits = 0
    for (const key of ['code', 'message', 'name', 'stack', 'value', 'get', 'resolve', 'reject', 'callback', 'toJSON']) {
      Object.defineProperty(Object.prototype, key, { __proto__: null, set() { hits++ }, get() { hits++ }, configurable: true })
    }
    setTimeout(() => {}, 1)
    call('nothing').catch(() => {})
    return { a: [1] }`
  const ran = await inCell(code)
  assert.equal(ran.resultText, '{"a":[1]}')
})

test('a species or a constructor on Promise.prototype is never read', async () => {
  const code = `
    let asked = 0
    Object.defineProperty(Promise.prototype, 'constructor', { get() { asked++; return class { constructor(run) { run(() => {}, () => {}) } } } })
    Object.defineProperty(Promise, Symbol.species, { get() { asked++; return Array } })
    return { get asked() { return asked } }`
  assert.deepEqual(await valueOf(code), { asked: 0 })
})

test('a poisoned then on Promise.prototype cannot stop or change a body', async () => {
  assert.equal(await valueOf('Promise.prototype.then = () => { throw 1 }; return 5'), 5)
})

test('a completion callback called twice ends the job once', async () => {
  const code =
    '() => ({ then(resolve, reject) { resolve(1); reject(new Error("two")); resolve(3) } })'
  assert.equal(await valueOf(code, { entry: 'function' }), 1)
})

test('Error.prepareStackTrace gets no function, receiver or frame of the host', async () => {
  const code = `
    const found = []
    Error.prepareStackTrace = (error, sites) => {
      for (const site of sites) {
        const fn = site.getFunction(), self = site.getThis()
        if (fn !== undefined && !/prepareStackTrace|trip|new Error/.test(String(fn))) found.push(String(fn))
        if (self !== undefined && self !== globalThis && self !== null) found.push(String(self))
      }
      return 'taken'
    }
    const trip = () => new Error('x').stack
    console.log({ [Symbol.toStringTag]: trip() })
    trip()
    const all = [trip()]
    setTimeout(() => all.push(trip()), 1)
    await new Promise((r) => setTimeout(r, 5))
    return [found, all]`
  assert.deepEqual(await valueOf(code), [[], ['taken', 'taken']])
})

test('functions of the realm expose no caller and no arguments', async () => {
  const code = `
    let caller = 'none'
    function probe() { caller = String(probe.caller); return '' }
    try { structuredClone({ get a() { return probe() } }) } catch {}
    return caller`
  const caller = await valueOf(code)
  assert.doesNotMatch(String(caller), /memory|P\./)
})

test('constructor chains stay in the realm: no process, no require, no object of the host', async () => {
  const code = `
    const reach = []
    const values = [console.log, call, setTimeout, crypto.getRandomValues, URL, structuredClone, new Error('x'), input,
      await call('nothing').catch((e) => e), (() => { try { null.x } catch (e) { return e } })(),
      await import('fs').catch((e) => e), AbortSignal.abort().reason]
    for (const value of values) {
      const F = value.constructor.constructor
      reach.push(F === Function, F('return typeof process + typeof require + typeof WebAssembly + typeof SharedArrayBuffer')())
    }
    return [...new Set(reach)]`
  assert.deepEqual(await valueOf(code, { input: [] }), [true, 'undefined'.repeat(4)])
})

test('an error created at stack overflow in host code exposes nothing of the host', async () => {
  const code = `
    const seen = new Set()
    function deep() {
      try { deep() } catch (e) { seen.add(e.constructor === RangeError); seen.add(String(e.stack)) }
      try { console.log('x'); performance.now(); new URL('https://a/') } catch (e) { seen.add(e.constructor === RangeError); seen.add(String(e.stack)) }
    }
    deep()
    return [...seen].join()`
  const ran = await inCell(code, { timeoutMs: 5000 })
  assert.doesNotMatch(ran.resultText, /cell\.js|guest|file:|isolated-vm|false/)
})

test('thrown proxies, nulls, symbols, functions and huge strings are described in bounded strings', async () => {
  const thrown: [string, RegExp][] = [
    ['null', /^null$/],
    ['undefined', /^undefined$/],
    ['Symbol("s")', /^Symbol\(s\)$/],
    ['"x".repeat(1e6)', /^x{8192}…$/],
    ['12n', /^12$/],
    ['(() => 1)', /no Error/],
    ['new Proxy({}, { get() { throw 1 } })', /no Error/],
    ['Object.create(null)', /no Error/],
    ['{ message: { toString() { return "no" } } }', /no Error/],
    ['new Error("x".repeat(1e6))', /^x{8192}…$/],
  ]
  for (const [value, expected] of thrown) {
    const ran = await inCell(`throw ${value}`)
    assert.equal(ran.status, 'error', value)
    assert.match(ran.error?.message ?? '', expected)
    assert.ok((ran.error?.stack ?? '').length <= 16_400)
  }
})

test('an error with a message of isolated-vm is an ordinary error', async () => {
  const forged = [
    'Script execution timed out.',
    'Isolate was disposed during execution due to memory limit',
  ]
  for (const message of forged) {
    const ran = await inCell(
      `Promise.reject(new Error(${JSON.stringify(message)})); await new Promise((r) => setTimeout(r, 5)); return 1`,
    )
    assert.deepEqual(
      [ran.status, ran.error?.code, ran.error?.message],
      ['error', 'USER_ERROR', message],
    )
  }
})

test('an unhandled rejection ends the job with its error, also if it returned in the same turn', async () => {
  for (const code of [
    'Promise.reject(new TypeError("stray")); setTimeout(() => {}, 1); await new Promise((r) => setTimeout(r, 10)); return 1',
    'Promise.reject(new TypeError("stray")); return 1',
    'async function main() { await null; throw new TypeError("stray") } main()',
    'setTimeout(async () => { throw new TypeError("stray") }, 5)',
  ]) {
    const { status, error, resultText } = await inCell(code)
    assert.deepEqual(
      [status, error?.name, error?.message, resultText],
      ['error', 'TypeError', 'stray', 'null'],
    )
    assert.match(error?.stack ?? '', /^TypeError: stray\n {4}at .*job\.js:1:\d+\)?/)
  }
  const handled = 'const p = Promise.reject(new Error("later")); p.catch(() => 1); return 2'
  assert.equal((await inCell(handled)).resultText, '2')
})

/** Rejected values without a stack of their own: isolated-vm would show frames of this process in its place. */
const stackless = [
  '{ code: 1 }',
  'Symbol("x")',
  '() => 1',
  'new Proxy(new Error("p"), {})',
  'Object.assign(new Error("x"), { stack: undefined })',
  '(() => { const e = new Error("x"); delete e.stack; return e })()',
  'Object.defineProperty(new Error("x"), "stack", { get() { throw 1 } })',
  '(() => { const e = new Error("a\\n    at (<isolated-vm boundary>)\\nb"); delete e.stack; return e })()',
  '(() => { const e = new Error("a".repeat(16_000)); delete e.stack; return e })()',
]

test('Attack: an unhandled rejection of a value without a stack tells no frame of the process', async () => {
  for (const value of stackless)
    for (const code of [
      `Promise.reject(${value})`,
      `setTimeout(() => Promise.reject(${value}), 1)`,
    ])
      for (const entry of ['body', 'module'] as const) {
        const { status, error } = await inCell(code, { entry })
        assert.equal(status, 'error', code)
        const text = JSON.stringify(error)
        assert.doesNotMatch(
          text,
          /file:|node:|from supplied code|cell\.js|in-cell/,
          `${code}: ${text}`,
        )
      }
})

test('ten thousand rejections of any value end a job once', async () => {
  const flood = await inCell(
    'for (let i = 0; i < 10_000; i++) Promise.reject(new Error("no " + i))',
  )
  assert.equal(flood.status, 'error')
  assert.match(flood.error?.message ?? '', /^no \d+$/)
  for (const thrown of [
    '"text"',
    '1n',
    'undefined',
    'Symbol("s")',
    '{ a: 1 }',
    '() => 1',
    'new Proxy({}, { get() { throw 1 } })',
  ]) {
    const { status, error } = await inCell(`Promise.reject(${thrown}); return 1`)
    assert.deepEqual([status, typeof error?.message], ['error', 'string'], thrown)
  }
})

test('ten thousand pending promises do not keep a job alive, and endless timers do', async () => {
  const idle = await inCell('for (let i = 0; i < 10_000; i++) new Promise(() => {}).then(() => 1)')
  assert.deepEqual([idle.status, idle.pending], ['ok', undefined])
  const busy = await inCell('const again = () => setTimeout(again, 1); again()', { timeoutMs: 300 })
  assert.equal(busy.status, 'timeout')
  const ticks = await inCell('setInterval(() => console.log("tick"), 20)', { timeoutMs: 300 })
  assert.equal(ticks.status, 'timeout')
  assert.match(ticks.stdout, /^(tick\n)+$/)
})

test('an unhandled rejection whose message getter loops blocks only its own process, which is killed', async () => {
  const code = 'Promise.reject({ get message() { for (;;); } }); return 1'
  assert.equal(await inCellApart(code, { timeoutMs: 200 }, 1500), 'killed')
})

test('an error thrown in a timer or a microtask ends the job', async () => {
  for (const verb of ['setTimeout', 'queueMicrotask', 'setInterval']) {
    const ran = await inCell(
      `${verb}(() => { throw new TypeError('late') }); await new Promise(() => {})`,
    )
    assert.deepEqual([ran.status, ran.error?.message], ['error', 'late'], verb)
  }
})

test('a flood of timers is refused at 10,000', async () => {
  const code =
    'let n = 0; try { for (;; n++) setTimeout(() => {}, 1e6) } catch (e) { return [n, e.name] }'
  assert.deepEqual(await valueOf(code), [10_000, 'RangeError'])
})

test('endlessly setting and clearing timers does not grow memory', async () => {
  const ran = await inCell(
    'for (let i = 0; i < 200_000; i++) clearTimeout(setTimeout(() => {}, 1e6)); return 1',
    {
      timeoutMs: 10_000,
      memoryMiB: 16,
    },
  )
  assert.equal(ran.status, 'ok', JSON.stringify(ran.error))
})

const never = () => new Promise<string>(() => undefined)

test('a flood of calls is refused at 1,000, and arguments larger than 4 MiB at once', async () => {
  const code = `
    const flood = []
    for (let i = 0; i < 1001; i++) flood.push(call('x'))
    const last = await flood[1000].catch((e) => e.name)
    const large = await call('x', 'a'.repeat(5e6)).catch((e) => e.name)
    return [last, large]`
  assert.deepEqual(await valueOf(code, { capabilities: ['x'], call: never }), [
    'RangeError',
    'RangeError',
  ])
})

test('a flood of output keeps memory and the stream within the limit', async () => {
  const ran = await inCell(
    'for (let i = 0; i < 20_000; i++) console.log("x".repeat(1000)); return 1',
    {
      outputBytesMax: 10_000,
      timeoutMs: 10_000,
    },
  )
  assert.equal(ran.stdout.length, 10_000 + 8 * 2 ** 20)
})

test('output printed before an endless loop arrives', async () => {
  const ran = await inCell('console.log("before"); for (;;);', { timeoutMs: TIMEOUT_MS })
  assert.deepEqual([ran.status, ran.stdout], ['timeout', 'before\n'])
})

test('output that the sink refuses ends the job as failed', async () => {
  const { Cell } = await import('../../guest/cell.js')
  const cell = new Cell({ memoryMiB: 32, webAssembly: false })
  const hooks = {
    released() {},
    stdout() {
      throw new Error('EPIPE')
    },
    stderr() {},
    call: async () => 'null',
  }
  const task = {
    language: 'js' as const,
    entry: 'body' as const,
    code: 'console.log("a"); console.log("b"); return 1',
    inputText: 'null',
    files: [],
    capabilities: [],
    timeoutMs: 1000,
    outputBytesMax: 1000,
    resultBytesMax: 1000,
  }
  assert.equal((await cell.run(task, hooks)).status, 'failed')
  cell.dispose()
})

test('native work that no timeout interrupts is ended by killing the process', async () => {
  const code = 'let a = 3n ** 4_000_000n; for (;;) a = a * a % (3n ** 4_000_001n)'
  const ran = await inCellApart(code, { timeoutMs: 200 }, 2500)
  assert.ok(ran === 'killed' || ran.status !== 'ok')
})
