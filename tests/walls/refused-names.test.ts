import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refusedModules, refusedNames } from '../../src/contract/refused-names.ts'
import { type Asked, inCell } from './in-cell.ts'

/** Names and modules reported, as `name` or `name module`, in their order. */
async function reported(code: string, asked: Asked = {}) {
  const names: string[] = []
  const refused = (name: string, module?: string) =>
    void names.push(module === undefined ? name : `${name} ${module}`)
  const ran = await inCell(code, { ...asked, refused })
  return { names, ran }
}

const lookups = [...refusedNames].filter((name) => !['import', 'globalThis'].includes(name))

test('S3-6 to S3-9: a lookup of each refused name is reported, and has the same result as without reporting', async () => {
  for (const name of lookups) {
    const bare = await reported(`${name}.x`)
    assert.deepEqual([bare.ran.error?.name, bare.names], ['ReferenceError', [name]])
    const asked = await reported(`return [typeof ${name}, '${name}' in globalThis]`)
    assert.deepEqual([asked.ran.resultText, asked.names], ['["undefined",false]', [name]])
  }
})

test('A name is reported for every form of access', async () => {
  for (const code of [
    'globalThis["pro" + "cess"]',
    'const g = globalThis; g.process',
    'const { process: p } = globalThis',
    'Reflect.get(globalThis, "process")',
    'Reflect.has(globalThis, "process")',
    'try { process } catch {}',
    '(0, eval)("typeof process")',
    'new Function("return typeof process")()',
    '(function () { return this })()?.process ?? (0, eval)("this").process',
    'Object.create(globalThis).process',
    'await null; setTimeout; typeof process',
    'try { new Function("with (globalThis) { return process }")() } catch {}',
  ])
    assert.deepEqual((await reported(code)).names, ['process'], code)
})

test('Names that a job declares and names that exist are not reported', async () => {
  for (const code of [
    'const process = 1, fetch = 2; return process + fetch',
    'globalThis.fs = 1; return fs',
    '({ process: 1 }).process; ({}).require',
    'toString; valueOf; hasOwnProperty; typeof window; typeof whatever',
    'Object.keys(globalThis); structuredClone(1); new URL("http://a/"); performance.now(); crypto.randomUUID()',
    'console.log(globalThis); setTimeout(() => {}); new TextDecoder(); atob(""); new Event("a"); Temporal.Now',
  ])
    assert.deepEqual((await reported(code)).names, [], code)
  const granted = { webAssembly: true, capabilities: ['mayfly.fetch'] }
  assert.deepEqual((await reported('typeof WebAssembly; typeof fetch', granted)).names, [])
})

test('S3-9: modules of Node that a job imports or requires are reported by their name, and no other text', async () => {
  const module = { entry: 'module', name: 'job.mjs' } as const
  assert.deepEqual((await reported('import fs from "node:fs"', module)).names, ['import fs'])
  const files = {
    'a.cjs': 'try { require("fs/promises") } catch {} try { require("no such") } catch {}',
  }
  assert.deepEqual((await reported('import "./a.cjs"', { ...module, files })).names, [
    'require fs/promises',
  ])
  assert.deepEqual((await reported('import "no such"', module)).names, [])
  assert.deepEqual((await reported('await import("fs")')).names, ['import'])
  assert.deepEqual((await reported('import("f" + "s"); await null')).names, ['import'])
})

test('A flood of lookups is reported once for each name, and other names are not reported', async () => {
  const flood = `for (let index = 0; index < 20_000; index++) {
    typeof process; globalThis['name' + index]; 'x'.repeat(99) + index in globalThis
  }`
  assert.deepEqual((await reported(flood)).names, ['process'])
  const files = {
    'a.cjs': `for (const name of ${JSON.stringify(refusedModules)}) for (const from of ['', 'node:']) try { require(from + name) } catch {}`,
  }
  const { names } = await reported('import "./a.cjs"', { entry: 'module', name: 'job.mjs', files })
  assert.ok(names.length > 40 && names.length <= 64, `${names.length}`)
})

test('Code that removes the watch from the global object is reported at its end, and cannot forge a name', async () => {
  for (const [code, told] of [
    ['Object.setPrototypeOf(globalThis, null); globalThis.process', ['globalThis']],
    ['globalThis.__proto__ = {}; globalThis.process; return 1', ['globalThis']],
    [
      'Object.setPrototypeOf(globalThis, Object.create(globalThis.__proto__)); globalThis.process',
      ['process', 'globalThis'],
    ],
    [
      'const p = Object.getPrototypeOf(globalThis); p.ask; p.refused; p["bogus name"]; p.constructor',
      [],
    ],
    [
      'Object.getPrototypeOf(globalThis).has?.({}, "process"); Reflect.ownKeys(Object.getPrototypeOf(globalThis))',
      [],
    ],
    [
      'Set.prototype.delete = () => true; Reflect.has = () => true; globalThis.bogus; "bogus" in globalThis',
      [],
    ],
    ['Object.prototype.bogus = 1; return bogus', []],
  ] as const)
    assert.deepEqual((await reported(code)).names, told, code)
})

test('A lookup at stack overflow is an error of the code only', async () => {
  const { ran } = await reported(
    'let deepest; const f = () => { try { f() } catch (e) { deepest ??= e.name; typeof process } }; f(); return deepest',
  )
  assert.deepEqual([ran.status, ran.resultText], ['ok', '"RangeError"'])
})

test('A getter behind the global object sees no frame of the realm', async () => {
  const { ran } = await reported(`
    const seen = []
    const get = function () { seen.push(new Error().stack); return this === globalThis }
    Object.defineProperty(Object.prototype, 'bait', { get })
    return [globalThis.bait, bait, get.caller ?? null, seen.some((stack) => stack.includes('realm'))]
  `)
  assert.deepEqual(JSON.parse(ran.resultText), [true, true, null, false])
})

test('A dynamic import whose refusal the code catches is reported, unless it gives the promise another prototype', async () => {
  const caught = 'import("fs").catch(() => 1); await null'
  assert.deepEqual((await reported(caught)).names, ['import'])
  const hidden = `const then = Promise.prototype.then, own = Object.setPrototypeOf(import("fs"), { constructor: Promise })
    then.call(own, () => 1, () => 1); await null`
  assert.deepEqual((await reported(hidden)).names, [])
})

test('Code that replaces the constructor of promises, or their species, breaks no job that may import', async () => {
  for (const change of [
    'Promise.prototype.constructor = Promise',
    'Object.defineProperty(Promise, Symbol.species, { get() { throw new Error("species") } })',
    'Object.defineProperty(Promise, Symbol.species, { get() { return Promise.resolve(1).then(() => 2), Promise } })',
  ]) {
    const { ran } = await reported(`${change}; try { await import('fs') } catch {} return 1`)
    assert.deepEqual([ran.status, ran.resultText], ['ok', '1'], change)
  }
  const changed = await reported(
    'eval("Promise.prototype.constructor = 7"); return Promise.prototype.constructor',
  )
  assert.equal(changed.ran.resultText, '7')
})
