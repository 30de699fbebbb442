import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cell } from '../../guest/cell.js'
import { tracedFunctions } from '../../src/contract/traced-functions.ts'

/** Runs one job in a new cell, as a worker does. */
async function lived(code: string, { entry = 'body', isTraced = true, ms = 20_000 } = {}) {
  const cell = new Cell({ memoryMiB: 64, webAssembly: false, isTraced })
  const end = await cell.run(
    {
      language: 'js',
      entry: entry as 'body',
      code,
      inputText: 'null',
      files: [],
      capabilities: [],
      timeoutMs: ms,
      outputBytesMax: 4096,
      resultBytesMax: 65_536,
    },
    { released() {}, stdout() {}, stderr() {}, call: async () => 'null' },
  )
  cell.dispose()
  const ran = end.ran?.map(([start, end, calls]) => ({ start, end, calls }))
  return { ...end, told: ran && tracedFunctions(code, ran) }
}

const named = (told: Awaited<ReturnType<typeof lived>>['told']) =>
  told?.map(({ name, line, calls }) => [name, line, calls])

test('S2-5: every executed function is listed with its zone, also one in the main zone', async () => {
  const code = `function outer(n) {
  const inner = (m) => m + 1
  return n > 2 ? inner(n) : n
}
function never() { return 1 }
class Box { open() { return outer(3) } }
const box = new Box()
return [outer(1), box.open(), box.open()]`
  const { resultText, told } = await lived(code)
  assert.equal(resultText, '[1,4,4]')
  assert.deepEqual(named(told), [
    ['outer', 1, 3],
    ['inner', 2, 2],
    ['open', 6, 2],
  ])
  assert.ok(told?.every(({ zone }) => zone === 'main'))
})

test('Modules, handlers, and single functions are traced as bodies are', async () => {
  const helper = 'function help() { return 7 }'
  for (const [entry, code, want] of [
    ['module', `${helper}\nexport default () => help()`, ['help', '']],
    ['module', `export default () => help()\n${helper}`, ['', 'help']],
    ['handler', `${helper}\nexports.handler = async () => help()`, ['help', 'handler']],
    ['function', `() => { ${helper}; return help() }`, ['', 'help']],
  ] as const) {
    const { resultText, told } = await lived(code, { entry })
    assert.equal(resultText, '7', code)
    assert.deepEqual(
      told?.map(({ name }) => name),
      want,
      code,
    )
  }
})

test('A job cut at its time limit has a trace up to then; a job over its memory limit has none', async () => {
  const endless = await lived('function spin() { for (;;); }\nspin()', { ms: 200 })
  assert.equal(endless.status, 'timeout')
  assert.deepEqual(named(endless.told), [['spin', 1, 1]])
  const greedy = await lived('const all = []\nfor (;;) all.push(new Array(1e5).fill(1.5))')
  assert.equal(greedy.status, 'limit')
  assert.equal(greedy.told, undefined)
})

test('Code in a realm cannot detect tracing, and finds no V8 natives syntax (%Debug…)', async () => {
  const code = `const said = []
for (const text of ['%DebugCollectCoverage()', '%DebugTogglePreciseCoverage(false)', '%HaveSameMap(1, 1)'])
  for (const make of [eval, Function, (async () => {}).constructor, (function* () {}).constructor])
    try { make(text); said.push(text) } catch (error) { said.push(error.name) }
function f() { return f.toString() }
said.push(f(), Object.getOwnPropertyNames(globalThis).length)
return said`
  const traced = await lived(code)
  const plain = await lived(code, { isTraced: false })
  assert.equal(traced.status, 'ok', JSON.stringify(traced.error))
  assert.equal(traced.resultText, plain.resultText)
  const said = JSON.parse(traced.resultText) as string[]
  assert.ok(
    said.slice(0, 12).every((one) => one === 'SyntaxError' || one === 'EvalError'),
    said.join(),
  )
  assert.equal(plain.told, undefined)
})

test('A guest that overwrites intrinsics is still traced', async () => {
  const { status, told } = await lived(`function broken() { return 1 }
Array.prototype.push = () => { throw new Error('mine') }
Array.prototype[Symbol.iterator] = undefined
JSON.stringify = () => '[[0,5,1]]'
Object.defineProperty(Object.prototype, 'count', { get: () => 99, set() {} })
Object.defineProperty(Object.prototype, 'script', { get: () => 'x', set() {} })
broken(); broken()`)
  assert.equal(status, 'ok')
  assert.deepEqual(named(told)?.slice(0, 1), [['broken', 1, 2]])
})
