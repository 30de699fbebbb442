import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { languages } from '../contract/job.ts'
import { capOf } from './cap.ts'
import { inspect } from './inspect.ts'

const pieces = [
  'process', '.env', 'globalThis', '["a"+"b"]', 'constructor', '.constructor', 'eval', '("x")', 'fetch', 'require("fs")',
  'import ', 'export ', 'default ', 'from "a"', 'const a = ', 'let {b} = ', 'var c', '=>', '(', ')', '[', ']', '{', '}', '`', '${',
  ';', ',', '\n', ' ', '//', '/*', '*/', '/', '<!--', '"', "'", '\\u0061', '\\', '0x1f', '1e9', '+', '-', '++', '!', '?', ':', '?.',
  'async ', 'await ', 'yield ', 'function ', 'class ', 'extends ', 'if(a)', 'else ', 'for(;;)', 'while(a)', 'do ', 'switch(a)',
  'case 1:', 'try{', '}catch(e){', 'return ', 'new ', 'typeof ', ': number', '<T>', 'as any', 'enum ', '__proto__', '.prototype', '=',
  'def main(x):', 'result = ', '"""', '#', '\u2028', '\ufeff', '😀', 'é', '\0', '\ud800', 'label:', '@d ', '#p', 'static{', 'using x=',
] // oxfmt-ignore
const soup = fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((parts) => parts.join(''))
const source = fc.oneof(soup, fc.string({ unit: 'binary', maxLength: 200 }))

test('any source is inspected without a throw, and every position is within it', () => {
  fc.assert(
    fc.property(source, fc.constantFrom(undefined, ...languages), (code, language) => {
      const { entry, found, syntaxError, javascript } = inspect({
        code,
        language,
        entry: 'auto',
        files: [],
      })
      assert.ok(entry !== 'auto' || language === 'python')
      const lines = code.split(/\r\n|[\n\r\u2028\u2029]/)
      for (const { line, column } of [...found, ...(syntaxError ? [syntaxError] : [])]) {
        assert.ok(line >= 1 && line <= lines.length)
        assert.ok(column >= 1 && column <= lines[line - 1]!.length + 2)
      }
      if (javascript !== undefined) assert.equal(javascript.length, code.length)
    }),
    { numRuns: 400 },
  )
})

test('inspecting a source twice gives equal results', () => {
  fc.assert(
    fc.property(soup, (code) => {
      const request = { code, entry: 'auto' as const, files: [] }
      assert.deepEqual(inspect(request), inspect(request))
    }),
    { numRuns: 100 },
  )
})

test('wrapping a source in one more bracket makes it no shallower', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[\w+\-=,; ]{0,80}$/), (code) => {
      const [one, two] = [capOf(code), capOf(`(${code}`)]
      assert.ok(one.kind === 'within' && two.kind === 'within' && two.weight >= one.weight + 4)
    }),
  )
})
