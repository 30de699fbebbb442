import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inCell, valueOf } from './in-cell.ts'

const typed = { typed: true, name: 'app.ts' } as const

test('an enum, a namespace, a parameter property and a decorator run as compiled by tsc', async () => {
  const code = `
    ;enum Color { Red = 1, Green }
    ;const enum Size { Small = 's' }
    ;namespace Shapes { export const sides = 3; export namespace Deep { export const twice = sides * 2 } }
    class Point { constructor(private readonly x: number, public y = 2) {} get sum(): number { return this.x + this.y } }
    function louder(method: any, { name }: any) { return function (this: any) { return name + method.call(this) } }
    class Dog { @louder bark(): string { return '!' } }
    const pair: [number, string] = [Color.Green, Color[1]!]
    return [...pair, Size.Small, Shapes.sides, Shapes.Deep.twice, new Point(5).sum, new Dog().bark()]`
  assert.deepEqual(await valueOf(code, typed), [2, 'Red', 's', 3, 6, 7, 'bark!'])
})

test('a namespace of several blocks shares its exports, and an exported variable is a property of it', async () => {
  const code = `
    ;namespace Units {
      ;export namespace Length { export const units = ['m'] }
      export const base = 1; export function twice(n: number) { return n * 2 }
      export let count = 0; export function more() { count++; return count }
      const hidden = 5
    }
    ;namespace Units {
      ;export namespace Length { export const first = units[0] }
      export class Kept {}
      export function describe() { const twiceBase = twice(base); return [Length.units.join(), twiceBase, { base }] }
    }
    ;namespace Units { const base = 9; export const own = base + twice(1); export const made = new Kept() instanceof Kept }
    Units.more()
    Units.count += 10
    return [Units.describe(), Units.Length.first, Units.more(), Units.count, Units.own, Units.made, Object.keys(Units).includes('hidden')]`
  assert.deepEqual(await valueOf(code, typed), [
    ['m', 2, { base: 1 }],
    'm',
    12,
    12,
    11,
    true,
    false,
  ])
})

test('a variable of another block of a namespace is a ReferenceError, and not a stale copy', async () => {
  const code = `;namespace A { export let n = 1 }\n;namespace A { export const read = () => n }\nA.n = 2\nreturn A.read()`
  const { error } = await inCell(code, typed)
  assert.equal(error?.message, 'n is not defined')
})

test('legacy decorators are called as by tsc, if tsconfig.json enables them', async () => {
  const files = {
    'tsconfig.json': '{ // older\n "compilerOptions": { "experimentalDecorators": true, } }',
  }
  const code = `
    const seen: unknown[] = []
    const note = (target: any, key: string, given: any) => { seen.push([typeof target, key, typeof given]) }
    const param = (_: any, key: string, at: number) => { seen.push([key, at]) }
    class A { @note field = 1; @note method(@param a: number) { return a } }
    return seen`
  assert.deepEqual(await valueOf(code, { ...typed, files }), [
    ['object', 'field', 'undefined'],
    ['method', 0],
    ['object', 'method', 'object'],
  ])
  const { error } = await inCell(code, typed)
  assert.match(error?.message ?? '', /^Cannot decorate the field "field": .*experimentalDecorators/)
})

test('a stack has the original lines of each file, also when it is printed', async () => {
  const files = {
    'lib.ts':
      'export enum A { b }\n\n\nexport function fail(why: string): never {\n  throw new TypeError(why)\n}',
  }
  const code = `import { A, fail } from './lib'
;enum Own { one }

try { fail('printed') } catch (error) { console.error(error) }
export default (): void => fail('thrown ' + A.b + Own.one)`
  const { error, stderr } = await inCell(code, { ...typed, entry: 'module', files })
  assert.equal(
    error?.stack,
    'TypeError: thrown 00\n    at fail (lib.ts:5:9)\n    at default (app.ts:5:28)',
  )
  assert.equal(stderr, 'TypeError: printed\n    at fail (lib.ts:5:9)\n    at app.ts:4:7\n')
})

test('files are resolved with each extension of TypeScript', async () => {
  const files = {
    'util.ts': 'export enum U { a = 1 }',
    'lib/index.ts': 'export const lib: number = 2',
    'old.cts': 'export = { three: 3 as number }',
    'view.tsx': 'declare const h: any; export const four: number = 4',
    'data.json': '{ "five": 5 }',
    'src/deep/six.ts': 'export const six: number = 6',
    'tsconfig.json':
      '{ "compilerOptions": { "baseUrl": "./src", "paths": { "@deep/*": ["missing/*", "deep/*"], "seven": ["../util"] } } }',
  }
  const code = `
    import { U } from './util'
    import { U as V } from './util.ts'
    import { U as W } from './util.js'
    import { U as X } from 'seven'
    import { lib } from './lib'
    import old from './old.cjs'
    import { four } from './view'
    import data from './data.json'
    import { six } from '@deep/six'
    import { six as also } from 'deep/six'
    export default [U.a, V.a, W.a, X.a, lib, old.three, four, data.five, six, also]`
  const ran = await inCell(code, { ...typed, entry: 'module', files })
  assert.equal(ran.resultText, '[1,1,1,1,2,3,4,5,6,6]', JSON.stringify(ran.error))
})

test('tsconfig paths that lead out of the job or in a circle do not resolve', async () => {
  for (const tsconfig of [
    '{ "compilerOptions": { "paths": { "x": ["../../etc/passwd"] } } }',
    '{ "compilerOptions": { "paths": { "x": ["/etc/passwd"] }, "baseUrl": "/" } }',
    '{ "compilerOptions": { "baseUrl": "../.." } }',
    '{ "extends": "./tsconfig.json", "compilerOptions": { "paths": { "x": ["x"] } } }',
    '{ "extends": "../../../etc/hostname" }',
    '{ "compilerOptions": { "paths": { "x": 5, "*": [{}], "__proto__": ["x"] } } }',
    '[',
    '"text"',
  ]) {
    const files = { 'tsconfig.json': tsconfig }
    const { error } = await inCell('import a from "x"; export default a', {
      ...typed,
      entry: 'module',
      files,
    })
    assert.equal(error?.code, 'MODULE_NOT_FOUND', tsconfig)
  }
})

test('invalid TypeScript is a syntax error with its position, in the source and in a file', async () => {
  const own = await inCell('enum A { b }\nlet x: = 1', typed)
  assert.deepEqual(
    [own.error?.code, own.error?.stack?.split('\n')[1]],
    ['SYNTAX_ERROR', '    at app.ts:2:8'],
  )
  const files = { 'bad.ts': 'enum A {\n' }
  const file = await inCell('import "./bad"', { ...typed, entry: 'module', files })
  assert.equal(file.error?.code, 'SYNTAX_ERROR')
  assert.match(file.error?.message ?? '', /\(bad\.ts:\d+:\d+\)$/)
})

test('a source map referenced by a source is never read', async () => {
  const code = 'enum A { b }\nthrow new Error("no")\n//# sourceMappingURL=file:///etc/passwd'
  const { error } = await inCell(code, typed)
  assert.equal(error?.stack, 'Error: no\n    at app.ts:2:7')
})
