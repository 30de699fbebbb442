import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from '../fixtures/drawn.ts'
import { IsolateSession, type CellEnd } from '../fixtures/cell-session.ts'

/** Cells of a session in one isolate, without a wall: what the worker is told of each exec. */

function ok(end: CellEnd, value: unknown): void {
  assert.deepEqual([end.status, end.error], ['ok', undefined], end.stderr)
  assert.deepEqual(JSON.parse(end.text), value)
}

const interrupted = { code: 'INTERRUPTED', message: 'The exec was interrupted' }

suite('Cells of one isolate', () => {
  test('values, functions and classes persist, and a name may be declared again', async () => {
    using session = new IsolateSession()
    ok(
      await session.exec('const x = 20; let y = 1; class A { n = 3 }; function f() { return g() }'),
      null,
    )
    ok(await session.exec('const g = () => x + y + new A().n\nf()'), 24)
    ok(await session.exec('const x = 1; class A { n = 4 }; f()'), 6)
    ok(await session.exec('const z = await Promise.resolve(5)\nz'), 5)
    ok(await session.exec('z + input.n', { input: { n: 1 } }), 6)
    ok(await session.exec('input'), { n: 1 })
    ok(await session.exec('Promise.resolve(7)'), 7)
    ok(await session.exec('{ a: 1 }'), { a: 1 })
    ok(await session.exec('if (x) "completion"'), 'completion')
    const shown = await session.exec('(function named() {})')
    assert.deepEqual([shown.encoding, shown.text], ['text', '"[Function: named]"'])
    const large = await session.exec('Array.from({ length: 1e6 }, () => 1)')
    assert.deepEqual([large.status, large.encoding, large.partial], ['ok', 'text', true])
  })

  test('types are erased, and enums, namespaces and abstract classes may be declared again', async () => {
    using session = new IsolateSession({ language: 'ts' })
    const typed = { typed: true }
    for (const n of [1, 2]) {
      const cell = `const enum C { A }\nenum E { A = ${n} }\nnamespace N { export const q = ${n} }\nabstract class B { abstract f(): void }`
      ok(await session.exec(cell, typed), null)
      ok(await session.exec('E.A + N.q + typeof B', typed), `${2 * n}function`)
    }
    const awaited =
      'enum D { A }\nconst { a, b = 2 }: { a: number; b?: number } = await { a: D.A }, [c]: any = [3]'
    ok(await session.exec(awaited, typed), null)
    ok(await session.exec('[a, b, c]', typed), [0, 2, 3])
    const wrong = await session.exec('enum F { A }\nconst a: any = await null\na.b', typed)
    assert.match(wrong.error?.stack ?? '', /at cell-7\.ts:3:3$/)
  })

  test('files of the session are imported, once, and nothing else', async () => {
    using session = new IsolateSession({
      files: {
        'lib.js': 'console.log("once"); export const a = 1; export default (n) => n * 2',
        'old.cjs': 'exports.z = 9',
        'slow.mjs': 'export const s = await new Promise((done) => setTimeout(() => done(4), 1))',
        'bad.mjs': 'throw new TypeError("bad")',
        'data.txt': 'export const read = 1',
      },
    })
    const first = await session.exec(
      'import twice, { a } from "./lib.js"\nimport { z } from "./old.cjs"',
    )
    assert.deepEqual([first.status, first.stdout], ['ok', 'once\n'], String(first.error?.message))
    ok(
      await session.exec('import { s } from "./slow.mjs"\nimport "./lib.js"\n[twice(a), z, s]'),
      [2, 9, 4],
    )
    const wrong = {
      'import { none } from "./lib.js"': /does not provide an export named 'none'/,
      'import "./bad.mjs"': /^bad$/,
      'import "./data.txt"': /brought no such file/,
      'import fs from "fs"': /a module of Node/,
      'await import("./lib.js")': /Cannot import at run time/,
    }
    for (const [cell, message] of Object.entries(wrong))
      assert.match((await session.exec(cell)).error?.message ?? '', message)
  })

  test('a dynamic import is refused by name, also in generated code and by a function of an earlier cell', async () => {
    using session = new IsolateSession({ files: { 'own.js': 'export const own = 1' } })
    const cells = [
      'await new Function("return im" + "port(\'./own.js\')")()',
      'async function late() { return import("./own.js") }; await late()',
      'await late()',
    ]
    for (const cell of cells)
      assert.equal((await session.exec(cell)).error?.code, 'IMPORT_REFUSED', cell)
    const unhandled = await session.exec('late(); 1')
    ok(unhandled, 1)
    assert.match(unhandled.stderr, /^Uncaught \(in promise\) Error: Cannot import at run time/)
    ok(await session.exec('import { own } from "./own.js"; own'), 1)
  })

  test('an error has the line of its cell, also of an earlier cell, and only frames of cells', async () => {
    using session = new IsolateSession()
    ok(await session.exec('\nfunction boom() {\n  null.f\n}'), null)
    const thrown = await session.exec('const a = 1\nawait 0;  boom()')
    assert.equal(thrown.error?.name, 'TypeError')
    assert.match(
      thrown.error?.stack ?? '',
      /^TypeError: .*\n    at boom \(cell-1\.js:3:8\)\n    at cell-2\.js:2:11$/,
    )
    const strange = await session.exec('throw { toString() { for (;;); } }')
    assert.equal(strange.error?.code, 'USER_ERROR')
    const stray = await session.exec('Promise.reject(new Error("alone")); 5')
    ok(stray, 5)
    assert.match(stray.stderr, /^Uncaught \(in promise\) Error: alone\n    at cell-4\.js:1:16\n$/)
    const bare = await session.exec('Promise.reject({ code: 1 }); 6')
    assert.match(
      bare.stderr,
      /^Uncaught \(in promise\) Error: A value that is no Error was thrown\n$/,
    )
    assert.equal((await session.exec('Promise.reject(7); 6')).stderr, 'Uncaught (in promise) 7\n')
    ok(await session.exec('1'), 1)
  })

  test('an error of a cell has its causes, with only frames of cells', async () => {
    using session = new IsolateSession()
    const { error } = await session.exec(
      'throw new Error("outer", { cause: new TypeError("inner", { cause: 1 }) })',
    )
    assert.equal(
      error?.stack,
      `Error: outer
    at cell-1.js:1:7
  [cause]: TypeError: inner
      at cell-1.js:1:35
    [cause]: 1`,
    )
  })

  test('background work of an earlier cell prints between two execs, and into no other exec', async () => {
    using session = new IsolateSession()
    const later = 'setTimeout(() => { console.log("timer"); throw new Error("lost") }, 1)\n0'
    ok(await session.exec(later), 0)
    await session.hears()
    assert.match(
      `${session.between.stdout}${session.between.stderr}`,
      /^timer\nUncaught Error: lost/,
    )
    const calls =
      'call("echo", "called").then(console.log); setTimeout(console.log, 1, "beside"); 0'
    ok(await session.exec(calls), 0)
    const own = await session.exec(
      'await new Promise((done) => setTimeout(done, 20)); console.log("own"); await call("echo", 1)',
    )
    ok(own, 1)
    assert.equal(own.stdout, 'own\n')
    assert.equal(session.between.stdout, 'timer\ncalled\nbeside\n')
  })

  test('background work is paused from the end of a drain until the next exec', async () => {
    using session = new IsolateSession()
    ok(await session.exec('setInterval(() => console.log("beat"), 1); 0'), 0)
    await session.hears()
    session.rest()
    const { stdout } = session.between
    await sleep(20)
    assert.equal(session.between.stdout, stdout)
    const own = await session.exec(
      'console.log("own"); await new Promise((done) => setTimeout(done, 20))',
    )
    assert.equal(own.stdout, 'own\n')
    assert.ok(session.between.stdout.length > stdout.length)
  })

  test('an endless cell is interrupted, and the state persists', async () => {
    using session = new IsolateSession()
    ok(await session.exec('const x = 20'), null)
    const endless = [
      'for (;;);',
      'await new Promise(() => {})',
      '(function again() { Promise.resolve().then(again) })(); 5',
      '({ get a() { for (;;); } }).a',
      '({ toJSON: 1, get then() { for (;;); } })',
      'await { then(done) { for (;;); } }',
      'setTimeout(() => { for (;;); }, 1); await new Promise(() => {})',
      '/(a+)+$/.test("a".repeat(40) + "b")',
    ]
    for (const cell of endless) {
      const end = await session.exec(cell, { timeoutMs: 100 })
      assert.deepEqual(end.error, interrupted, cell)
      ok(await session.exec('x'), 20)
    }
    const waits = session.exec('console.log("waits"); await new Promise(() => {})')
    session.interrupt('another')
    session.interrupt(waits.id)
    assert.deepEqual((await waits).error, interrupted)
  })

  test('an interrupted cell goes on neither by its timers, calls nor imports, and an earlier cell does', async () => {
    const files = { 'own.js': 'export const own = 1' }
    const call = (_name: string, argsText: string) =>
      new Promise<string>((done) => setTimeout(done, 5, argsText))
    using session = new IsolateSession({ call, files })
    ok(await session.exec('var beats = 0, n = 0; setInterval(() => beats++, 1); 0'), 0)
    const sleeps = 'await new Promise((done) => setTimeout(done, 1))'
    for (const step of [sleeps, 'await call("echo", 1)']) {
      const end = await session.exec(`n = 0; for (;;) { ${step}; n++ }`, { timeoutMs: 50 })
      assert.deepEqual(end.error, interrupted, step)
      const { text } = await session.exec(
        `var was = [n, beats]; for (let i = 0; i < 20; i++) ${sleeps};[was[0] > 0, n - was[0], beats > was[1]]`,
      )
      assert.equal(text, '[true,0,true]', step)
    }
    const busy =
      'Promise.resolve().then(() => { for (;;); }); import { own } from "./own.js"; n = own + "imported"'
    assert.deepEqual((await session.exec(busy, { timeoutMs: 50 })).error, interrupted)
    assert.match((await session.exec(`${sleeps}; n`)).text, /^\d+$/)
  })

  test('an endless callback that is ended at the timeout of another exec is reported so', async () => {
    using session = new IsolateSession()
    ok(await session.exec('setTimeout(() => { for (;;); }, 1); 0'), 0)
    const waits = session.exec('await new Promise(() => 0)', { timeoutMs: 50 })
    assert.deepEqual((await waits).error, interrupted)
    ok(await session.exec('1'), 1)
    assert.match(session.between.stderr, /Ended a callback: it ran until the timeout of a later/)
  })

  test('an endless callback between two execs is interrupted and reported', async () => {
    using session = new IsolateSession()
    ok(await session.exec('const x = 5; setTimeout(() => { for (;;); }, 1); 0'), 0)
    await session.hears()
    assert.match(session.between.stderr, /Ended a callback/)
    ok(await session.exec('x'), 5)
  })

  test('scripts of ended cells are garbage-collected before they reach the memory limit', async () => {
    using session = new IsolateSession()
    ok(await session.exec('const kept = () => 5'), null)
    const text = 'x'.repeat(200_000)
    const before = session.usedBytes
    for (let n = 0; n < 250; n++) {
      const cell = `const f${n % 2} = () => "${n} ${text}".length; f${n % 2}()`
      assert.equal((await session.exec(cell)).status, 'ok')
      await new Promise(setImmediate)
    }
    assert.ok(session.usedBytes - before < 20 * 2 ** 20, `${session.usedBytes - before}`)
    ok(await session.exec('kept() + typeof gc'), '5undefined')
  })

  test('an array buffer that does not fit is an error of its cell, and the state persists', async () => {
    using session = new IsolateSession()
    ok(await session.exec('const x = 5'), null)
    for (const code of ['new ArrayBuffer(2 ** 30)', 'await null; new Uint8Array(2e9)']) {
      const { status, error } = await session.exec(code)
      assert.deepEqual([status, error?.code, error?.name], ['error', 'USER_ERROR', 'RangeError'])
      assert.match(
        error?.stack ?? '',
        /^RangeError: Array buffer allocation failed\n(?: +at .*\n)* +at cell-\d\.js:1:\d+$/,
      )
    }
    ok(await session.exec('x'), 5)
  })

  test('more memory than its limit ends the isolate', async () => {
    using session = new IsolateSession()
    const end = await session.exec(
      'const hog = []; for (;;) hog.push(new Array(100_000).fill(1.5))',
    )
    assert.deepEqual(
      [end.id, session.over?.status, session.over?.error?.code],
      ['over', 'limit', 'MEMORY'],
    )
  })

  test('a hostile cell leaves the next exec its own id, result and output', async () => {
    for (const cell of hostile) {
      using session = new IsolateSession()
      const { error } = await session.exec(cell, { timeoutMs: 300 })
      // A cell that fails on its way attacks nothing; some break their own end too.
      assert.match(error?.message ?? 'ran', /^ran$|incompatible receiver|was interrupted/, cell)
      const given = { timeoutMs: 5000, input: 1 }
      const next = session.exec('console.log("own"); 20 + input', given)
      const end = await next
      assert.deepEqual(
        [end.id, end.status, end.text, end.stdout, end.stderr],
        [next.id, 'ok', '21', 'own\n', ''],
        cell,
      )
    }
  })

  test('an exec whose input an earlier cell made constant ends as an error, and none of it runs', async () => {
    for (const cell of constantInputs) {
      using session = new IsolateSession()
      assert.equal((await session.exec(cell)).status, 'ok', cell)
      const end = await session.exec('console.log("ran"); input', { input: 'own' })
      assert.deepEqual([end.status, end.error?.code, end.stdout], ['error', 'USER_ERROR', ''], cell)
      assert.match(end.error?.message ?? '', /input/, cell)
      ok(await session.exec('20 + 1'), 21)
      assert.equal(session.between.stdout, '', cell)
    }
  })

  test('a cell can forge only its own result: it ends once, well-formed and bounded', async () => {
    for (const cell of liars) {
      using session = new IsolateSession()
      const next = session.exec(cell, { timeoutMs: 500, resultBytesMax: 1000 })
      const end = await next
      assert.equal(end.id, next.id, cell)
      assert.ok(['ok', 'error'].includes(end.status), cell)
      assert.ok(end.text.length <= 1000, `${cell}: ${end.text.length}`)
      JSON.parse(end.text)
      assert.ok((end.error?.message ?? '').length < 10_000, cell)
      ok(await session.exec('1'), 1)
    }
  })
})

/** Cells that leave `console.log` working for strings and numbers, by which the next exec is checked. */
const hostile = [
  `for (const key of ['id', 'text', 'status', 'error', 'code', 'encoding', 'owner', 'then', 'value', 'get', 'resolve'])
     Object.defineProperty(Object.prototype, key, { __proto__: null, configurable: true, get() { return 'forged' }, set() {} })`,
  'Object.prototype.toJSON = () => "forged"; String.prototype.toJSON = Number.prototype.toJSON = () => "forged"',
  'Number.prototype.then = (done) => done("forged")',
  'Object.defineProperty(Promise.prototype, "constructor", { get() { throw new Error("forged") } })',
  'Object.defineProperty(Promise, Symbol.species, { get() { return function () { throw 1 } } })',
  'Promise = class { constructor() { throw 1 } }; Map = Set = Error = Array = String = undefined',
  'JSON.stringify = () => "forged"; JSON.parse = () => ({ forged: 1 }); Reflect.apply = eval = () => "forged"',
  'for (const key of Reflect.ownKeys(String.prototype)) try { String.prototype[key] = () => "forged" } catch {}',
  'for (const key of Reflect.ownKeys(Map.prototype)) try { Map.prototype[key] = () => "forged" } catch {}',
  'Object.defineProperty(Array.prototype, 0, { set() { throw 1 }, get() { return "forged" } })',
  'Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => "forged"',
  'Error.prepareStackTrace = () => "forged"; Error.stackTraceLimit = 0; Error.captureStackTrace = undefined',
  'Object.freeze(Object.prototype); Object.freeze(Array.prototype); Object.freeze(Promise.prototype)',
  'Object.defineProperty(globalThis, "input", { get: () => "forged", set() {}, configurable: true })',
  'delete globalThis.Promise; delete globalThis.JSON; delete globalThis.eval; delete globalThis.Object',
  'setInterval(() => console.log("forged"), 1); (function again() { call("echo", 1).then(() => { console.log("forged"); again() }) })()',
  'for (let n = 0; n < 500; n++) setTimeout(() => { console.log("forged"); throw "forged" }, 0)',
  'const never = new Promise((done) => setTimeout(done, 1, "forged")); await new Promise(() => never.then(console.log))',
  '$load$ = job = undefined; var enter = realm = host = ask = bound = P = "forged"',
]

/** Cells that keep a value of their own in the place of a later input. */
const constantInputs = [
  'Object.defineProperty(globalThis, "input", { get() { throw 1 }, configurable: false })',
  'Object.defineProperty(globalThis, "input", { value: "forged", configurable: false })',
  'globalThis.input = "forged"; Object.freeze(globalThis)',
]

const liars = [
  '({ then(done, fail) { done(1); fail(2); done(3); setTimeout(done, 0, 4) } })',
  '({ status: "ok", id: "forged", text: "forged", toJSON() { return { forged: 1 } } })',
  'throw { name: "x".repeat(1e6), message: "y".repeat(1e6), stack: "z".repeat(1e6), code: "MEMORY" }',
  'throw new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } })',
  'new Proxy([], { get() { throw 1 }, ownKeys() { throw 2 } })',
  '"x".repeat(1e6)',
  'const a = []; a.push(a); a',
  'let deep = {}; for (let n = 0; n < 1e5; n++) deep = { deep }; deep',
  '(function again() { again() })()',
  'Object.assign(new Error("Script execution timed out."), { name: "forged" })',
  'throw new Error("Script execution timed out.")',
  'Promise.reject(new Error("Isolate was disposed during execution due to memory limit")); 1',
  'new Array(1e9)',
  '({ get a() { return "x".repeat(2 ** 28) } })',
  'Symbol("s")',
  '10n ** 5000n',
  'Object.create(null, { a: { get() { throw 1 }, enumerable: true } })',
]
