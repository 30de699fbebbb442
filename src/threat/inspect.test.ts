import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Entry, Language } from '../contract/job.ts'
import { inspect, type InspectRequest } from './inspect.ts'

const look = (code: string, more: Partial<InspectRequest> = {}) =>
  inspect({ code, entry: 'auto', files: [], ...more })

const shapes: readonly (readonly [string, Language | undefined, Language, Entry])[] = [
  ['return input + 1', undefined, 'js', 'body'],
  ['const a = await call("x"); return a', 'js', 'js', 'body'],
  ['(input) => input + 1', undefined, 'js', 'function'],
  ['async (input) => { return input };\n// done', 'js', 'js', 'function'],
  ['// first\nfunction f(input) { return input }', 'js', 'js', 'function'],
  ['function (input) { return input };', 'js', 'js', 'function'],
  ['(function () { return 1 })', 'js', 'js', 'function'],
  ['(function () { return 1 })()', 'js', 'js', 'body'],
  ['function f() {} function g() {}', 'js', 'js', 'body'],
  ['export default (input) => input', undefined, 'js', 'module'],
  ['import { a } from "./a.js"; a()', 'js', 'js', 'module'],
  ['const a = import("./a.js"); return a', 'js', 'js', 'body'],
  ['return "import export"', 'js', 'js', 'body'],
  ['import fs from "node:fs"; fs()', undefined, 'node', 'program'],
  ['import fs from "node:fs"; fs()', 'js', 'js', 'module'],
  ['const fs = require("fs"); fs.rmSync("x")', undefined, 'node', 'program'],
  ['return require("x")', 'js', 'js', 'body'],
  ['const require = (x) => x; return require("x")', undefined, 'js', 'body'],
  ['import "node:fs"; export default () => 1', undefined, 'node', 'module'],
  ['console.log(1)', 'node', 'node', 'program'],
  ['#!/usr/bin/env node\nawait import("x")', 'node', 'node', 'program'],
  ['const a: number = 1; return a', 'ts', 'ts', 'body'],
  ['const a: number = 1; return a', undefined, 'ts', 'body'],
  ['enum A { b = 2 }\nreturn A.b', undefined, 'ts', 'body'],
  ['namespace A { export const b = 1 }\nreturn A.b', 'ts', 'ts', 'body'],
  ['(x: number) => { enum A { b }; return A.b };', 'ts', 'ts', 'function'],
  ['enum A { b }; export default A.b', 'ts', 'ts', 'module'],
  ['console.log(1)\nexport {}', 'ts', 'ts', 'module'],
  ['console.log(1); export {}', undefined, 'js', 'module'],
  ['import fs from "fs"; const n: number = fs.length', undefined, 'node', 'program'],
  ['import fs = require("node:fs"); enum A { b }', undefined, 'node', 'program'],
  ['console.log(process.argv)', undefined, 'node', 'program'],
  ['console.log(process.argv)', 'js', 'js', 'body'],
  ['console.log(process.argv as string[])', 'ts', 'ts', 'body'],
  ['const process = { pid: 1 }; return process.pid', undefined, 'js', 'body'],
  ['return typeof process === "undefined" ? 0 : process.pid', undefined, 'js', 'body'],
  ['typeof module === "object" && (module.exports = 1)', undefined, 'js', 'body'],
  ['module.exports = { a: 1 }', undefined, 'node', 'program'],
  ['console.log(Buffer.from("a"), __dirname)', undefined, 'node', 'program'],
  ['import _ from "lodash"; _.a()', undefined, 'node', 'program'],
  ['import { a } from "@b/c"; export default () => a', undefined, 'node', 'module'],
  ['console.log(import.meta.url)', undefined, 'node', 'program'],
  ['setImmediate(() => 1)', undefined, 'node', 'program'],
  ['await import("./a.js")', undefined, 'node', 'program'],
  ['import "node:fs"; export default class A {}', undefined, 'node', 'program'],
  ['import "node:fs"; export default function a() {}\na()', undefined, 'node', 'program'],
  ['import "node:fs"; function a() { return a() }\nexport default a', undefined, 'node', 'module'],
  [
    'import "fs"; function a() {}\nif (import.meta.main) b()\nexport default a',
    undefined,
    'node',
    'program',
  ],
  ['(input: { a: string }): string => input.a', 'ts', 'ts', 'function'],
  ['function (input: number) { return input }', 'ts', 'ts', 'function'],
  ['import type { A } from "./a.ts"; export const a: A = 1', 'ts', 'ts', 'module'],
  ['def main(input):\n  return input', 'python', 'python', 'auto'],
  ['print("def main(): result = 1")', 'python', 'python', 'auto'],
  ['echo hello', 'sh', 'sh', 'program'],
]

test('Entry "main" is for Python only', () => {
  assert.equal(look('def main(n): pass', { language: 'python', entry: 'main' }).entry, 'main')
  const { syntaxError } = look('return 1', { entry: 'main' })
  assert.match(syntaxError?.message ?? '', /"main": it is for language "python" only/)
})

test('Entry "program" without a language is for Node, in JavaScript and in TypeScript', () => {
  for (const code of ['console.log(1)', 'const n: number = 1; console.log(n)'])
    assert.equal(look(code, { entry: 'program' }).language, 'node')
  assert.equal(look('return 1', { language: 'js', entry: 'body' }).language, 'js')
})

for (const [code, asked, language, entry] of shapes) {
  test(`${asked ?? 'a source of no given language'} is ${language}, ${entry}: ${JSON.stringify(code)}`, () => {
    const seen = look(code, { language: asked })
    assert.equal(seen.syntaxError, undefined)
    assert.deepEqual([seen.language, seen.entry], [language, entry])
  })
}

test('a function keeps every position while trailing tokens are blanked out', () => {
  assert.equal(
    look('function (a) { return a } ; // c').javascript,
    'function (a) { return a }   // c',
  )
  assert.equal(look('(a) => a').javascript, undefined)
})

const errors: readonly (readonly [string, Language, number, number])[] = [
  ['let x = ;', 'js', 1, 9],
  ['return 1\n\n  let = = 2', 'js', 3, 9],
  ['export default ;\n', 'js', 1, 16],
  ['import a from "a"\nlet x = ;', 'js', 2, 9],
  ['}); steal(); (async function () {', 'js', 1, 1],
  ['1 }, 2); (function () {', 'js', 1, 3],
  ['let x: = 1', 'ts', 1, 8],
  ['const a = 1\n  enum A { b = }', 'ts', 2, 16],
  ['let é = "😀"; let = = 1', 'js', 1, 21],
]

for (const [code, language, line, column] of errors) {
  test(`a syntax error is at line ${line}, column ${column} of ${JSON.stringify(code)}`, () => {
    const { syntaxError, found } = look(code, { language })
    assert.deepEqual([syntaxError?.line, syntaxError?.column], [line, column])
    assert.deepEqual(found, [])
  })
}

test('S3-21: occurrences are counted exactly, and the position is that of the first', () => {
  const [found] = look(
    'const a = 1\n  eval("1"); eval("2")\nglobalThis.eval("3")\nconst e = eval; e("4")',
  ).found
  assert.deepEqual(found, { name: 'EVAL', line: 2, column: 3, count: 5 })
})

test('S3-21: lines and columns are those of the source, in a body, a function, a module and TypeScript', () => {
  const places = [
    look('process.exit()'),
    look('() =>\n process.exit()'),
    look('export default 1\nprocess.exit()'),
    look('let a: number\n\tprocess.exit()', { language: 'ts' }),
    look('"é😀"; process.exit()'),
  ].map(({ found: [first] }) => [first?.line, first?.column])
  assert.deepEqual(places, [
    [1, 1],
    [2, 2],
    [2, 1],
    [2, 2],
    [1, 8],
  ])
})

test('constant text that is compiled is inspected, with findings at the call', () => {
  const { found } = look('const code = "pro" + "cess.exit()"\n  eval(code)')
  assert.deepEqual(found, [
    { name: 'EVAL', line: 2, column: 3, count: 1 },
    { name: 'PROCESS_ACCESS', line: 2, column: 3, count: 1 },
  ])
})

test('files that are code by name, or loaded by code, are inspected', () => {
  const files = [
    { path: 'lib/a.js', content: 'export default process.env' },
    {
      path: 'lib/data',
      content: Buffer.from('fetch("x")').toString('base64'),
      encoding: 'base64' as const,
    },
    { path: 'notes.txt', content: 'eval("1")' },
  ]
  const { found } = look('import data from "./lib/data"; export default data', {
    language: 'js',
    files,
  })
  assert.deepEqual(
    found.map(({ name, detail }) => [name, detail]),
    [
      ['IMPORT', undefined],
      ['PROCESS_ACCESS', 'in "lib/a.js"'],
      ['NETWORK', 'in "lib/data"'],
    ],
  )
})

test('a source nested too deeply is UNPARSED in every language that would be parsed', () => {
  const code = '['.repeat(100_000)
  for (const language of ['js', 'ts', 'node', undefined] as const) {
    const { found } = look(code, { language })
    assert.deepEqual(
      found.map(({ name }) => name),
      ['UNPARSED'],
    )
  }
  const { found } = look('return 1', { files: [{ path: 'a.js', content: code }] })
  assert.deepEqual(
    found.map(({ name }) => name),
    ['UNPARSED'],
  )
})

test('Python and shell get a size and no finding: no rule here reads them', () => {
  const { found, complexityScore } = look('import os\nif os:\n  os.system("ls")', {
    language: 'python',
  })
  assert.deepEqual(found, [])
  assert.equal(complexityScore, 2)
})

const tsFile = (content: string, path = 'a.ts') => ({ path, content })

test('TypeScript that cannot be erased runs as written, and its findings have the original positions', () => {
  const { typed, javascript, found } = look('enum A { b }\nreturn eval(`${A.b}`)', { name: 'a.ts' })
  assert.deepEqual([typed, javascript], [true, undefined])
  assert.deepEqual(found, [{ name: 'EVAL', line: 2, column: 8, count: 1 }])
})

test('findings inside an enum, a namespace or a parameter property are reported', () => {
  for (const code of [
    'enum A { b = eval("1") }',
    'namespace N { export namespace M { export const a = eval("1") } }',
    'class P { constructor(private a = eval("1")) {} }',
    'class P { @eval("1") a = 1 }\nenum B { c }',
    'class P { constructor(@eval("1") private a: number) {} }',
    'class P { constructor(@eval("1") private a = 1) {} }',
  ]) {
    const { found, typed } = look(code, { language: 'ts' })
    assert.deepEqual([typed, found.map(({ name }) => name)], [true, ['EVAL']], code)
  }
})

test('the decorator of a parameter is found in a file that the source loads', () => {
  for (const parameter of ['a: number', 'private a: number', 'a = 1']) {
    const content = `class P { constructor(@eval("1") ${parameter}) {} }`
    const { found } = look('import "./a.ts"', {
      language: 'ts',
      files: [{ path: 'a.ts', content }],
    })
    assert.deepEqual(
      found.map(({ name }) => name),
      ['IMPORT', 'EVAL'],
      parameter,
    )
  }
})

test('types, declarations and ambient names are not code', () => {
  const code = `enum A { b }
declare const process: { pid: number }
interface I { require: (x: string) => void }
type T = typeof eval
declare module "fs" { export function eval(): void }
abstract class C { abstract eval(): void; declare x: number; m(x: string): void; m(x: any) {} }`
  const { found, language } = look(code, { name: 'a.ts' })
  assert.deepEqual([language, found], ['ts', []])
})

test('imports used only as types are blanked out, and the others stay', () => {
  const { javascript } = look(
    `import { A, b, C } from './x'
import D from './y'
import E, { f } from './z'
import './side'
const a: A = b as C
export const g: D = f(a)`,
    { name: 'a.ts' },
  )
  assert.equal(
    javascript,
    `import {    b,   } from './x'
;${' '.repeat(18)}
import E, { f } from './z'
import './side'
const a    = b     
export const g    = f(a)`,
  )
})

test('files of an isolate are erased too where they can be; those of a program are not', () => {
  const files = [tsFile('export const a: number = 1'), tsFile('export enum B { c }', 'b.ts')]
  const code = "import { a } from './a'; import { B } from './b.js'; export default a + B.c"
  assert.deepEqual(look(code, { files }).erased, [
    { path: 'a.ts', javascript: 'export const a         = 1' },
  ])
  assert.equal(look(`import 'node:fs'; ${code}`, { files }).erased, undefined)
})

test('a TypeScript file is inspected under every name it can be imported by', () => {
  const files = [tsFile('enum A { b }\nexport const c = () => eval("1")', 'lib/index.ts')]
  for (const name of ['./lib', './lib/index', './lib/index.ts', './lib/index.js']) {
    const { found } = look(`import { c } from '${name}'; export default c`, { files })
    assert.ok(
      found.some((one) => one.name === 'EVAL'),
      name,
    )
  }
})

test('ten thousand nested namespaces are not parsed, and an enum that doubles itself stays a few lines', () => {
  const deep = `${'namespace A { '.repeat(10_000)}${'}'.repeat(10_000)}`
  assert.deepEqual(
    look(deep, { name: 'a.ts' }).found.map(({ name }) => name),
    ['UNPARSED'],
  )
  const doubled = Array.from({ length: 24 }, (_, n) => `a${n + 1} = a${n} + a${n},`)
  const bomb = look(`enum E { a0 = 'xxxxxxxxxx', ${doubled.join(' ')} }`, { name: 'a.ts' })
  assert.deepEqual([bomb.language, bomb.typed, bomb.found], ['ts', true, []])
})

test('a source is for Node if a file that it loads, directly or not, needs Node', () => {
  const files = [
    { path: 'src/a.ts', content: "export { b } from './b.js'" },
    {
      path: 'src/b.ts',
      content: "import { EventEmitter } from 'node:events'; export const b: object = EventEmitter",
    },
    { path: 'src/circle.ts', content: "import './circle'; export const b = 1" },
    { path: 'src/common.cjs', content: "module.exports = require('./common.cjs')" },
    {
      path: 'src/typed.ts',
      content: "import type { A } from 'node:fs'; export const b: A | number = 1",
    },
    { path: 'apart.js', content: "import 'node:fs'" },
  ]
  const languageOf = (from: string, name = 'src/main.ts') =>
    look(`import x from '${from}'; console.log(x)`, { name, files }).language
  assert.equal(languageOf('./a'), 'node')
  assert.equal(languageOf('./src/a', 'main.ts'), 'node')
  for (const from of ['./circle', './common.cjs', './typed', './missing'])
    assert.equal(languageOf(from), 'ts', from)
  assert.equal(look("import './a'", { name: 'src/main.ts', language: 'ts', files }).language, 'ts')
})

const messageOf = (code: string, more: Partial<InspectRequest> = {}) =>
  look(code, more).syntaxError?.message ?? 'none'

test('TypeScript in code that is called JavaScript is told as such', () => {
  const typed = [
    'const a: number = 1\nreturn a',
    'interface A { x: number }',
    'enum A { x }',
    'function f<T>(x: T) { return x }',
    'import a from "./a.js"\na(input as string)',
  ]
  for (const code of typed)
    for (const more of [{ language: 'js' }, { name: 'a.mjs' }, { name: 'a.cjs' }] as const)
      for (const cell of [false, true])
        assert.match(messageOf(code, { ...more, cell }), /^This is TypeScript, .* language "ts"/)
  const node = { language: 'node', name: 'a.mjs' } as const
  assert.match(messageOf('const a: number = 1', node), /^This is TypeScript/)
  assert.match(messageOf('const a: number = <p>{1}</p>', { name: 'a.jsx' }), /^This is TypeScript/)
  assert.doesNotMatch(messageOf('return 1 +', { language: 'js' }), /TypeScript/)
  assert.ok(messageOf(`const ${'a'.repeat(600)}: any = 1`, { language: 'js' }).length <= 500)
})

test('Notebook syntax in JavaScript is told as such', () => {
  for (const code of [
    '!npm install x',
    'const a = 1\n%time a',
    'const rows = []\nrows?\n',
    'rows?',
  ])
    for (const more of [{}, { language: 'js', cell: true }, { language: 'node' }] as const)
      assert.match(messageOf(code, more), /notebook syntax|command of a shell/, code)
  assert.doesNotMatch(messageOf('return !f(', { language: 'js' }), /notebook/)
})
