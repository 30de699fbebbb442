import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Cell } from '../../guest/cell.js'
import { inCell, valueOf } from './in-cell.ts'

test('a body is an async function with input in scope, and its return value is the result', async () => {
  const ran = await inCell('return input.a + 1', { input: { a: 1 } })
  assert.equal(ran.status, 'ok')
  assert.equal(ran.resultText, '2')
  assert.equal(ran.encoding, 'json')
  assert.equal(ran.error, undefined)
  assert.equal(ran.released, 1)
})

test('a body that returns nothing has the result null', async () => {
  assert.equal((await inCell('')).resultText, 'null')
  assert.equal((await inCell('return undefined')).resultText, 'null')
})

test('a body may redeclare names that are in scope', async () => {
  assert.equal(await valueOf('const input = 5; let call = 1; return input + call'), 6)
})

test('a body may end in a comment', async () => {
  assert.equal(await valueOf('return 1 // done'), 1)
})

test('a source that is one function is called with the input', async () => {
  const asked = { entry: 'function', input: 20 } as const
  assert.equal(await valueOf('(input) => input + 1', asked), 21)
  assert.equal(await valueOf('async (input) => input + 2; // done', asked), 22)
  assert.equal(await valueOf('function (input) { return input + 3 }', asked), 23)
})

test('a source declared as a function that is none ends as an error', async () => {
  const ran = await inCell('5', { entry: 'function' })
  assert.equal(ran.status, 'error')
  assert.match(ran.error?.message ?? '', /not one function/)
})

test('input is data: a key __proto__ in it changes no prototype', async () => {
  const code =
    'return [Object.keys(input), ({}).polluted === undefined, input.polluted === undefined]'
  const cell = await inCell(code, { input: JSON.parse('{"__proto__": {"polluted": 1}}') })
  assert.deepEqual(JSON.parse(cell.resultText), [['__proto__'], true, true])
})

test('a cell can be used only once', async () => {
  const cell = new Cell({ memoryMiB: 32, webAssembly: false })
  const task = {
    language: 'js' as const,
    entry: 'body' as const,
    code: 'return 1',
    inputText: 'null',
    files: [],
    capabilities: [],
    timeoutMs: 1000,
    outputBytesMax: 1000,
    resultBytesMax: 1000,
  }
  const hooks = { released() {}, stdout() {}, stderr() {}, call: async () => 'null' }
  await cell.run(task, hooks)
  assert.throws(() => cell.run(task, hooks), /used before/)
  cell.dispose()
  cell.dispose()
})

test('two jobs share no globals', async () => {
  await inCell('globalThis.left = 1; Object.prototype.left = 1; return 1')
  assert.equal(await valueOf('return typeof left'), 'undefined')
})

test('an error that user code throws keeps its name, message and position', async () => {
  const ran = await inCell('const a = 1\n  throw new TypeError("wrong")')
  assert.equal(ran.status, 'error')
  assert.equal(ran.error?.code, 'USER_ERROR')
  assert.equal(ran.error?.name, 'TypeError')
  assert.equal(ran.error?.message, 'wrong')
  assert.equal(ran.error?.stack, 'TypeError: wrong\n    at job.js:2:9')
})

test('a thrown value that is no Error is shown in the message, within a bound', async () => {
  const messageOf = async (code: string) => (await inCell(code)).error?.message ?? ''
  const prefix = 'A value that is no Error was thrown: '
  assert.equal(await messageOf('throw { a: [1n] }'), `${prefix}{ a: [ 1n ] }`)
  assert.equal(await messageOf('await Promise.reject([1, 2])'), `${prefix}[ 1, 2 ]`)
  const large = await messageOf('throw Array.from({ length: 90 }, () => "x".repeat(5000))')
  assert.ok(large.startsWith(prefix) && large.length < 10_000, String(large.length))
})

test('positions on the first line equal those of the source', async () => {
  const ran = await inCell('throw new Error("first")')
  assert.equal(ran.error?.stack, 'Error: first\n    at job.js:1:7')
  const called = await inCell('(input) => { null.x }', { entry: 'function' })
  assert.match(called.error?.stack ?? '', /job\.js:1:19\)$/)
})

test('a stack that the job reads has frames of the job and of built-in functions only', async () => {
  const seen = await valueOf(`
const direct = new Error('direct').stack
let inner
;[1].map(function each() { inner = new TypeError('inner').stack })
const later = await Promise.resolve().then(() => new Error('later').stack)
class Odd extends Error { get name() { throw 1 } }
return [direct, inner, later, new Odd('odd').stack, Object.keys(Error)]`)
  assert.deepEqual(seen, [
    'Error: direct\n    at job.js:2:16',
    'TypeError: inner\n    at each (job.js:4:36)\n    at Array.map (<anonymous>)\n    at job.js:4:6',
    'Error: later\n    at job.js:5:50\n    at async job.js:5:15',
    '<error>\n    at job.js:7:31',
    ['stackTraceLimit'],
  ])
})

test('a job’s own prepareStackTrace is called, and broken intrinsics do not affect the default one', async () => {
  const seen = await valueOf(`
String.prototype.concat = Array.prototype.push = () => { throw 1 }
Object.prototype.file = 'x'
const usual = new Error('a').stack
Error.prepareStackTrace = (error, sites) => 'own ' + error.message
return [usual, new Error('b').stack]`)
  assert.deepEqual(seen, ['Error: a\n    at job.js:4:15', 'own b'])
})

test('a stack names no frame of the realm and no file of the host', async () => {
  const code = 'setTimeout(() => { throw new Error("later") }, 1); await new Promise(() => {})'
  for (const source of [
    code,
    'await call("nothing")',
    'structuredClone(() => 1)',
    'JSON.parse("{")',
  ]) {
    const ran = await inCell(source)
    assert.equal(ran.status, 'error', source)
    assert.doesNotMatch(JSON.stringify(ran.error), /mayfly:|isolated-vm|guest|node:internal|file:/)
  }
})

test('a syntax error is reported before the release, with its line and column', async () => {
  const ran = await inCell('const a = 1\nconst b = )')
  assert.equal(ran.status, 'error')
  assert.equal(ran.error?.code, 'SYNTAX_ERROR')
  assert.match(ran.error?.message ?? '', /job\.js:2:11/)
  assert.equal(ran.released, 0)
  assert.equal(ran.executionMs, 0)
})

test('an unterminated source is a syntax error at its own end, not at the end of a wrapper', async () => {
  const ran = await inCell('if (true) {')
  assert.equal(ran.error?.message, 'Unexpected end of input (job.js:1:12)')
})

async function broker(name: string, text: string) {
  if (name === 'broken') throw Object.assign(new Error('it broke'), { code: 'E_BROKE' })
  return JSON.stringify({ name, args: JSON.parse(text) })
}

test('capabilities are called by name, answered as data, refused as errors', async () => {
  const asked = { capabilities: ['echo', 'broken'], call: broker }
  assert.deepEqual(await valueOf('return await call("echo", { a: [1] })', asked), {
    name: 'echo',
    args: { a: [1] },
  })
  assert.deepEqual(
    await valueOf(
      'return call("broken").catch((e) => [e instanceof Error, e.message, e.code])',
      asked,
    ),
    [true, 'it broke', 'E_BROKE'],
  )
})

test('a capability that was not granted is refused without a call to the host', async () => {
  let asks = 0
  const call = async () => `${++asks}`
  const code = 'return call("other").catch((e) => e.code)'
  assert.equal(await valueOf(code, { capabilities: ['echo'], call }), 'CAPABILITY_DENIED')
  assert.equal(asks, 0)
})

test('a job waits for timers and capabilities, and ends when its promise settles', async () => {
  const code = `
    setInterval(() => {}, 1)
    const slow = new Promise((resolve) => setTimeout(resolve, 20, 'slow'))
    return [await slow, await call('echo')]`
  const asked = { capabilities: ['echo'], call: () => setTimeout(10, '"echo"') }
  assert.deepEqual(await valueOf(code, asked), ['slow', 'echo'])
})

test('executionMs runs from the release of user code, cpuTimeMs counts its work', async () => {
  // A fixed amount of work, not of time: under load a loop of 30 ms may get no CPU time at all.
  const code = `
    const began = Date.now()
    let sum = 0
    for (let n = 0; n < 5e6; n++) sum = (sum + n * n) % 1000003
    return Date.now() - began`
  const ran = await inCell(code, { timeoutMs: 60_000 })
  const tookMs = Number(ran.resultText)
  assert.ok(ran.executionMs >= tookMs - 1, `${ran.executionMs} of ${tookMs} ms`)
  assert.ok(ran.cpuTimeMs > 5 && ran.cpuTimeMs < ran.executionMs + 20, `${ran.cpuTimeMs}`)
})

test('memory use is reported to within 20%, on the heap and outside of it', async () => {
  const heap = await inCell(
    'globalThis.kept = Array.from({ length: 200 }, () => new Array(10_000).fill(0.5)); return 1',
  )
  const empty = await inCell('return 1')
  const held = heap.memory.used - empty.memory.used
  assert.ok(held > 16e6 * 0.8 && held < 16e6 * 1.2, `${held}`)
  const outside = await inCell('globalThis.kept = new Uint8Array(2e7).fill(1); return 1')
  const external = outside.memory.used - empty.memory.used
  assert.ok(external > 2e7 * 0.8 && external < 2e7 * 1.2, `${external}`)
  assert.ok(outside.memory.peak >= outside.memory.used)
})

test('output is sent in order, in chunks of at most 64 KiB', async () => {
  const ran = await inCell('console.log("a"); console.log("é".repeat(60_000)); console.log("z")')
  assert.equal(ran.stdout, `a\n${'é'.repeat(60_000)}\nz\n`)
  assert.ok(Math.max(...ran.chunks) <= 65_536)
})

/** Errors by their source, and what their stack tells beyond the frames of the first. */
const CAUSED = [
  [
    `new Error('outer', { cause: new TypeError('inner', { cause: 'root' }) })`,
    /^Error: outer\n {4}at job\.js:1:7\n {2}\[cause\]: TypeError: inner\n {6}at job\.js:1:35\n {4}\[cause\]: "root"$/,
  ],
  [
    `new AggregateError([new RangeError('a'), 7n, { b: 1 }], 'many')`,
    /^AggregateError: many\n {4}at job\.js:1:7\n {2}\[errors 0\]: RangeError: a\n {6}at job\.js:1:27\n {2}\[errors 1\]: 7\n {2}\[errors 2\]: \{"b":1\}$/,
  ],
  [
    `new SuppressedError(new Error('a'), null, 'both')`,
    /^SuppressedError: both\n.*\n {2}\[error\]: Error: a\n.*\n {2}\[suppressed\]: null$/,
  ],
  [
    `(() => { const e = new Error('self'); e.cause = e; return e })()`,
    /\n {2}\[cause\]: \[Circular\]$/,
  ],
  [
    `new Error('x', { cause: { get a() { throw 1 } } })`,
    /\n {2}\[cause\]: a value that is no data$/,
  ],
  [
    `Object.defineProperty(new Error('x'), 'cause', { get() { throw 1 } })`,
    /^Error: x\n {4}at job\.js:1:29$/,
  ],
  [`new AggregateError(new Array(1e6).fill(0))`, /\n {2}\[errors 19\]: 0$/],
  [
    `Object.defineProperty(new Error('x'), 'errors', { value: new Proxy([1], { get() { throw 1 } }) })`,
    /^Error: x\n {4}at job\.js:1:29$/,
  ],
] as const

test('an error that user code throws has its causes and collected errors in its stack', async () => {
  for (const [source, stack] of CAUSED) {
    const asked = [
      [`throw ${source}`, 'body'],
      [`() => { throw ${source} }`, 'function'],
    ] as const
    const [body, called] = await Promise.all(asked.map(([code, entry]) => inCell(code, { entry })))
    assert.match(body?.error?.stack ?? '', stack, source)
    assert.doesNotMatch(called?.error?.stack ?? '', /new Promise/, source)
    assert.equal(called?.error?.message, body?.error?.message)
  }
})
