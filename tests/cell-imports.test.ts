import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseSync } from 'oxc-parser'
import { withLoader } from '../guest/process/cell-imports.js'

const root = join(import.meta.dirname, '..')
const rewritten = (code: string) => {
  const made = withLoader(code)
  return 'code' in made ? made.code : made
}

test('An import declaration becomes a call of the loader, with the same number of lines', () => {
  const cases: readonly (readonly [string, string])[] = [
    ["import 'a'", "void await $load$('a');"],
    ["import a from 'a'", "const { default: a } = await $load$('a', undefined, ['default']);"],
    ["import * as a from 'a';", "const a = await $load$('a');;"],
    [
      "import a, * as b from 'a'",
      "const b = await $load$('a', undefined, ['default']), { default: a } = b;",
    ],
    [
      'import {\n  a as b, // c\n  "d e" as f,\n} from "a"\nb',
      'const { a: b, "d e": f } = await $load$("a", undefined, [\'a\', "d e"]);\n\n\n\nb',
    ],
    [
      "import a from 'a' with { type: 'json' }",
      "const { default: a } = await $load$('a', { with: { type: 'json' } }, ['default']);",
    ],
    ["x = import('a')", "x = $load$('a')"],
    ['import.meta.url', '$loadMeta$$.url'],
    ["[...import('a')]", "[...$load$('a')]"],
  ]
  for (const [code, expected] of cases) assert.equal(rewritten(code), expected)
})

test('Names, strings, comments, templates and expressions with the word import are unchanged', () => {
  const cases = [
    'a.import(1); a?.import(1); ({ import(x) { return x } }); class A { import() {} }',
    "'import(1)'; `import(1) ${'import(2)'}`; /import(1)/.test(a) // import(1)",
    'a = b / c; /* import(1) */ d = e / import_f',
    'if (a) /import(1)[/]/.test(b)',
    "({ export: 1 }).export; a.export = 'export'",
    'import {',
    'import defer from',
    "'unterminated\nimport(1)",
  ]
  for (const code of cases) assert.equal(rewritten(code), code)
  assert.equal(rewritten('`${import("a")}`'), '`${$load$("a")}`')
})

test('An export is refused with its position', () => {
  const made = withLoader('const a = 1\n  export { a }')
  assert.ok('message' in made)
  assert.deepEqual([made.line, made.column], [2, 3])
})

test('The imports found in all files of this tree equal those found by a parser', () => {
  const files = globSync('{guest,src,scripts,node_modules/{hono,zod,acorn,ws,commander}}/**/*.js', {
    cwd: root,
  })
  let found = 0
  for (const file of files) {
    // Exports would be refused, so the word is replaced by one of the same length.
    const code = readFileSync(join(root, file), 'utf8').replaceAll(/\bexport\b/g, 'EXPORT')
    const { module, errors } = parseSync(file, code.replaceAll('EXPORT', 'export'))
    if (errors.length > 0) continue
    const made = withLoader(code)
    assert.ok('code' in made, file)
    // The parser lists an import twice if it re-reads it as the target of an assignment.
    const dynamic = new Set(module.dynamicImports.map(({ start }) => start))
    const imports = module.staticImports.length + dynamic.size
    assert.equal(made.code.split('$load$(').length - code.split('$load$(').length, imports, file)
    found += imports
  }
  assert.ok(found > 500, String(found))
})
