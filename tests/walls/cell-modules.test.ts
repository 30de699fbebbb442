import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import Handlebars from 'handlebars'
import { marked } from 'marked'
import { inCell, valueOf } from './in-cell.ts'

interface Lodash {
  sortBy(list: readonly object[], keys: readonly string[]): unknown
  chunk(list: readonly number[], size: number): unknown
  camelCase(text: string): string
}
const lodash = createRequire(import.meta.url)('lodash') as Lodash

type Files = Readonly<Record<string, string>>
const asModule = (files: Files = {}, input: unknown = null) =>
  ({ entry: 'module', files, input }) as const
const asHandler = (files: Files = {}, input: unknown = null) =>
  ({ entry: 'handler', files, input }) as const
const installed = (path: string) =>
  readFileSync(new URL(`../../node_modules/${path}`, import.meta.url), 'utf8')

async function errorOf(code: string, asked: object) {
  const ran = await inCell(code, asked)
  assert.equal(ran.status, 'error', `${code}: ${ran.status} ${ran.resultText}`)
  return ran.error ?? assert.fail()
}

test('a default export that is a function is called with input and context; any other value is the result', async () => {
  assert.equal(await valueOf('export default (input) => input * 2', asModule({}, 4)), 8)
  assert.equal(
    await valueOf(
      'export default async function (input, context) { return typeof context.call }',
      asModule(),
    ),
    'function',
  )
  assert.deepEqual(await valueOf('export default { a: [1] }', asModule()), { a: [1] })
  assert.equal(await valueOf('export const other = 1', asModule()), null)
})

test('a program is refused, with the language that has it', async () => {
  const { code, message } = await errorOf('console.log(1)', { entry: 'program' })
  assert.equal(code, 'ENTRY_UNSUPPORTED')
  assert.match(message, /by entry "program": language "node" has it$/)
})

test('top-level await works, and its failures are the job failures', async () => {
  const wait = 'await new Promise((r) => setTimeout(r, 5));'
  assert.equal(await valueOf(`${wait} export default 7`, asModule()), 7)
  const late = await errorOf(`${wait}\nthrow new TypeError("late")`, asModule())
  assert.deepEqual([late.name, late.message], ['TypeError', 'late'])
  assert.equal(late.stack, 'TypeError: late\n    at job.js:2:7')
  assert.equal((await errorOf('throw new RangeError("now")', asModule())).message, 'now')
  assert.equal((await errorOf('throw null', asModule())).message, 'null')
})

test('an unhandled rejection in a module is distinct from the failure of the module', async () => {
  const code =
    'Promise.reject(new Error("stray")); await new Promise((r) => setTimeout(r, 5)); export default 7'
  const ran = await inCell(code, asModule())
  assert.deepEqual([ran.status, ran.error?.message], ['error', 'stray'])
})

test('an unhandled rejection in an imported CommonJS file is the error of the job', async () => {
  const files = { 'c.cjs': 'Promise.reject(new Error("stray")); exports.one = 1' }
  const ran = await inCell('import { one } from "./c.cjs"; export default one', asModule(files))
  assert.deepEqual([ran.status, ran.error?.message], ['error', 'stray'])
  const thrown = await errorOf(
    'import "./c.cjs"',
    asModule({ 'c.cjs': 'throw new TypeError("no")' }),
  )
  assert.equal(thrown.message, 'no')
})

test('files are imported by relative path, with suffix, index and package rules', async () => {
  const files = {
    'lib/a.js': 'export const a = 1; export { b } from "../b.mjs"',
    'b.mjs': 'export const b = 2',
    'lib/index.js': 'export default "index"',
    'data.json': '{"n": [3]}',
    'pkg/package.json': '{"main": "./main.js", "type": "module"}',
    'pkg/main.js': 'export default 4',
  }
  const code = `
    import { a, b } from './lib/a'
    import index from './lib'
    import data, { n } from './data.json'
    import four from './pkg'
    import again from '/lib/index.js'
    export default [a, b, index, data, n, four, again === index]`
  assert.deepEqual(await valueOf(code, asModule(files)), [1, 2, 'index', { n: [3] }, [3], 4, true])
})

test('a bare name resolves to a package of the job: exports, conditions, subpaths, module and main', async () => {
  const files = {
    'node_modules/one/package.json': JSON.stringify({
      exports: {
        '.': { require: './no.cjs', import: './yes.mjs' },
        './deep/*': './src/*.mjs',
        './hidden/*': null,
      },
    }),
    'node_modules/one/yes.mjs': 'export default "import"',
    'node_modules/one/no.cjs': 'module.exports = "require"',
    'node_modules/one/src/x.mjs': 'export default "deep x"',
    'node_modules/@scope/two/package.json': '{"module": "m.mjs", "main": "c.js"}',
    'node_modules/@scope/two/m.mjs': 'export default "module"',
    'node_modules/@scope/two/c.js': 'module.exports = "main"',
    'lib/node_modules/one/index.js': 'module.exports = "nearer"',
    'lib/use.js': 'export { default } from "one"',
    'lib/require.cjs': 'module.exports = [require("one"), require("@scope/two")]',
  }
  const code = `
    import one from 'one'; import deep from 'one/deep/x'; import two from '@scope/two'; import near from './lib/use.js'; import both from './lib/require.cjs'
    export default [one, deep, two, near, both]`
  assert.deepEqual(await valueOf(code, asModule(files)), [
    'import',
    'deep x',
    'module',
    'nearer',
    ['nearer', 'main'],
  ])
  const error = await errorOf('import "one/hidden/x"', asModule(files))
  assert.equal(error.code, 'MODULE_NOT_FOUND')
})

test('S3-9: an import of a file that the job does not have is refused with a code, also of built-ins and the realm', async () => {
  for (const name of [
    'fs',
    'node:fs',
    './missing.js',
    '../../etc/passwd',
    '/etc/passwd',
    'file:///etc/passwd',
    'https://a.b/c.js',
    'mayfly:realm',
    'mayfly:main',
    'data:text/javascript,1',
  ]) {
    const error = await errorOf(`import ${JSON.stringify(name)}`, asModule({ 'a.js': '' }))
    assert.equal(
      error.code,
      /^(node:)?fs$/.test(name) ? 'IMPORT_REFUSED' : 'MODULE_NOT_FOUND',
      name,
    )
    assert.ok(error.message.includes(JSON.stringify(name)), error.message)
  }
})

test('a file without a code extension runs only if an import has its exact path', async () => {
  const files = {
    'evil.txt': 'module.exports = "ran"',
    'types.d.ts': 'module.exports = "ran"',
    'd/package.json': '{"main": "evil.txt"}',
    'd/evil.txt': 'module.exports = "ran"',
    't/package.json': '{"main": "types"}',
    't/types.d.ts': 'module.exports = "ran"',
    'e/package.json': '{"main": "types.d"}',
    'e/types.d.ts': 'module.exports = "ran"',
    'node_modules/p/package.json': '{"main": "evil.txt"}',
    'node_modules/p/evil.txt': 'module.exports = "ran"',
    'node_modules/q/package.json': '{"exports": "./evil.txt"}',
    'node_modules/q/evil.txt': 'module.exports = "ran"',
    'tsconfig.json': '{"compilerOptions": {"paths": {"zz": ["evil.txt"]}}}',
  }
  for (const name of ['./d', '/d', './t', './e', 'p', 'p/evil.txt', 'q', 'zz', './types.d']) {
    const error = await errorOf(`import ${JSON.stringify(name)}`, asModule(files))
    assert.equal(error.code, 'MODULE_NOT_FOUND', name)
  }
  for (const name of ['./evil.txt', '/evil.txt', 'file:///evil.txt', './d/evil.txt']) {
    const code = `import ran from ${JSON.stringify(name)}; export default ran`
    assert.equal(await valueOf(code, asModule(files)), 'ran', name)
  }
  const made = 'exports.handler = () => require(["./evil", "txt"].join("."))'
  assert.match((await errorOf(made, asHandler(files))).message, /Cannot find "\.\/evil\.txt"/)
})

test('a syntax error in a file has its file, line and column, and so has a missing export', async () => {
  const broken = await errorOf('import "./x.mjs"', asModule({ 'x.mjs': '\nexport const x = ;' }))
  assert.equal(broken.code, 'SYNTAX_ERROR')
  assert.match(broken.message, /\(x\.mjs:2:18\)$/)
  const missing = await errorOf(
    'import { y } from "./x.mjs"',
    asModule({ 'x.mjs': 'export const x = 1' }),
  )
  assert.equal(missing.code, 'SYNTAX_ERROR')
  assert.match(missing.message, /does not provide an export named 'y'/)
  const own = await errorOf('export default 1\nexport default 2', asModule())
  assert.equal(own.code, 'SYNTAX_ERROR')
})

test('files named like the source or like parts of the realm are ordinary files', async () => {
  const files = {
    'job.js': 'export default "file"',
    'mayfly:realm': 'import * as m from "main"; export const realm = m',
    realm: 'export const realm = "file"',
  }
  assert.equal(await valueOf('import f from "./job.js"; export default f', asModule(files)), 'file')
  assert.equal(
    await valueOf('import { realm } from "./realm"; export default realm', asModule(files)),
    'file',
  )
  const error = await errorOf(
    'import { realm } from "./mayfly:realm"; export default realm',
    asModule(files),
  )
  assert.equal(error.code, 'MODULE_NOT_FOUND')
})

test('circular ES modules, and the same file under two names, are evaluated once', async () => {
  const files = {
    'a.js':
      'import { b } from "./b.js"; export const a = () => b; globalThis.count = (globalThis.count ?? 0) + 1',
    'b.js': 'import { a } from "./a"; export const b = "b"; export const viaA = () => a()',
  }
  const code =
    'import { a } from "./a.js"; import { viaA } from "./lib/../b.js"; export default [a(), viaA(), globalThis.count]'
  assert.deepEqual(await valueOf(code, asModule(files)), ['b', 'b', 1])
})

test('CommonJS has module, exports, require, circular imports, JSON and a cache', async () => {
  const files = {
    'a.js': 'exports.early = 1; const b = require("./b"); exports.late = b.seen',
    'b.js': 'exports.seen = require("./a").early; exports.late = typeof require("./a").late',
    'c.js':
      'module.exports = [require("./data"), __filename, __dirname, require.resolve("./a"), this === exports, require("./b") === require("./b.js")]',
    'data.json': '{"x":1}',
  }
  const code = 'exports.handler = () => [require("./a"), require("./b").late, require("./c")]'
  assert.deepEqual(await valueOf(code, asHandler(files)), [
    { early: 1, late: 1 },
    'undefined',
    [{ x: 1 }, 'c.js', '', 'a.js', true, true],
  ])
})

test('an error in a required file has that file in its stack; a missing one has a code', async () => {
  const error = await errorOf(
    'exports.handler = () => require("./z")',
    asHandler({ 'z.js': '\nthrow new Error("in z")' }),
  )
  assert.match(error.stack ?? '', /^Error: in z\n {4}at Object\.<anonymous> \(z\.js:2:7\)/)
  const code = 'exports.handler = () => { try { require("fs") } catch (e) { return e.code } }'
  assert.equal(await valueOf(code, asHandler()), 'MODULE_NOT_FOUND')
  const syntax = await errorOf(
    'exports.handler = () => require("./z")',
    asHandler({ 'z.js': 'let = ;' }),
  )
  assert.equal(syntax.name, 'SyntaxError')
  const esm = await errorOf('require("./z.mjs")', asHandler({ 'z.mjs': 'export {}' }))
  assert.match(esm.message, /ES module/)
})

test('a handler returns its result by value, promise or callback', async () => {
  assert.equal(await valueOf('exports.handler = (event) => event.a', asHandler({}, { a: 1 })), 1)
  assert.equal(
    await valueOf('exports.handler = async (event) => event.a', asHandler({}, { a: 2 })),
    2,
  )
  assert.equal(
    await valueOf(
      'exports.handler = (e, c, done) => { setTimeout(done, 2, null, 3) }',
      asHandler(),
    ),
    3,
  )
  assert.equal(
    await valueOf(
      'module.exports = { handler: (e, context) => context.getRemainingTimeInMillis() > 0 }',
      asHandler(),
    ),
    true,
  )
  assert.equal(await valueOf('export const handler = (event) => event', asHandler({}, 4)), 4)
  const failed = await errorOf(
    'exports.handler = (e, c, done) => done(new TypeError("no"))',
    asHandler(),
  )
  assert.equal(failed.message, 'no')
  assert.match(
    (await errorOf('exports.other = 1', asHandler())).message,
    /exports\.handler is not a function/,
  )
})

test('lodash, as a package and as a file, gives the same results as outside', async () => {
  const files = {
    'node_modules/lodash/package.json': installed('lodash/package.json'),
    'node_modules/lodash/lodash.js': installed('lodash/lodash.js'),
  }
  const input = {
    users: [
      { n: 'b', a: 2 },
      { n: 'a', a: 2 },
      { n: 'c', a: 1 },
    ],
  }
  const expected = [
    lodash.sortBy(input.users, ['a', 'n']),
    lodash.chunk([1, 2, 3], 2),
    lodash.camelCase('is it so'),
  ]
  const use = '[_.sortBy(input.users, ["a", "n"]), _.chunk([1, 2, 3], 2), _.camelCase("is it so")]'
  assert.deepEqual(
    await valueOf(`import _ from 'lodash'; export default ${use}`, asModule(files, input)),
    expected,
  )
  assert.deepEqual(
    await valueOf(
      `import { chunk } from 'lodash'; export default chunk([1, 2, 3], 2)`,
      asModule(files),
    ),
    expected[1],
  )
  assert.deepEqual(
    await valueOf(
      `const _ = require('lodash'); exports.handler = (input) => ${use}`,
      asHandler(files, input),
    ),
    expected,
  )
})

test('marked, an ES module package, gives the same output as outside', async () => {
  const files = {
    'node_modules/marked/package.json': installed('marked/package.json'),
    'node_modules/marked/lib/marked.esm.js': installed('marked/lib/marked.esm.js'),
  }
  const text =
    '# Title\n\n- *a* `b`\n- [c](https://example.com)\n\n| x | y |\n|---|---|\n| 1 | 2 |\n'
  const code = 'import { marked } from "marked"; export default (text) => marked.parse(text)'
  assert.equal(await valueOf(code, asModule(files, text)), marked.parse(text))
})

test('handlebars, a UMD bundle that compiles templates with Function, gives the same output as outside', async () => {
  const files = { 'handlebars.js': installed('handlebars/dist/handlebars.js') }
  const template = '{{#each list}}<{{this}}>{{else}}none{{/each}} {{{raw}}} {{esc}}'
  const data = { list: [1, 2], raw: '<b>', esc: '<i>' }
  const expected = Handlebars.compile(template)(data)
  const code =
    'exports.handler = ({ template, data }) => require("./handlebars").compile(template)(data)'
  assert.equal(await valueOf(code, asHandler(files, { template, data })), expected)
  const imported =
    'import H from "./handlebars.js"; export default ({ template, data }) => H.compile(template)(data)'
  assert.equal(await valueOf(imported, asModule(files, { template, data })), expected)
})
