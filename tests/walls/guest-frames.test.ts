import assert from 'node:assert/strict'
import { builtinModules, isBuiltin } from 'node:module'
import { suite, test } from 'node:test'
import type { ZodType } from 'zod'
import { Cell } from '../../guest/cell.js'
import { CellFrames } from '../../guest/cell/frames.js'
import { runModule } from '../../guest/wasm/run.js'
import { cellShapeOf } from '../../src/threat/cell-shape.ts'
import {
  callArgsBytesMax,
  callSchema,
  execEndSchema,
  headed,
  kind,
  refusedMax,
  refusedSchema,
  workerAnsweredSchema,
  workerEndSchema,
} from '../../src/walls/wire.ts'
import { op, wasi, wasm, withName } from '../fixtures/wasm.ts'
import { Program } from '../fixtures/wasi-program.ts'
import { type Asked, cellTaskOf } from './in-cell.ts'

const resultBytesMax = 100_000
const MiB = 2 ** 20

interface Sent {
  readonly kind: number
  readonly payload: Buffer
}

/** Guest's half of the frames, which keeps what it sends. */
function recorder() {
  const sent: Sent[] = []
  const send = (which: number, text: string) =>
    void sent.push({ kind: which, payload: Buffer.from(text) })
  return { sent, frames: new CellFrames(send) }
}

const heads: Readonly<Record<number, ZodType<{ error?: unknown }>>> = {
  [kind.answered]: workerAnsweredSchema,
  [kind.call]: callSchema.transform(() => ({})),
  [kind.end]: workerEndSchema,
  [kind.execEnd]: execEndSchema,
}

/** Longest payload behind the head of each kind. */
const restBytesMax: Readonly<Record<number, number>> = { [kind.call]: callArgsBytesMax }

/** Reads frames as the server does, and returns the error codes of their ends, `ok` without one. */
function readBack(sent: readonly Sent[], from: string): string[] {
  const codes: string[] = []
  assert.ok(sent.filter((frame) => frame.kind === kind.refused).length <= refusedMax, from)
  for (const { kind: which, payload } of sent) {
    if (which === kind.stdout || which === kind.stderr) continue
    const told = `${from}: ${payload.subarray(0, 300).toString()}`
    if (which === kind.refused) {
      assert.ok(refusedSchema.safeParse(JSON.parse(payload.toString())).success, told)
      continue
    }
    const schema = heads[which]
    assert.ok(schema !== undefined, told)
    const read = headed(schema, payload)
    assert.ok(read, told)
    assert.ok(read.rest.length <= (restBytesMax[which] ?? resultBytesMax), told)
    const { error } = read.head as { error?: { code: string } }
    if (which !== kind.call) codes.push(error?.code ?? 'ok')
  }
  return codes
}

const short = (code: string) => code.slice(0, 100)

async function framesOfJob(code: string, asked: Asked & { calls?: number } = {}) {
  const { sent, frames } = recorder()
  const cell = new Cell({ memoryMiB: 64, webAssembly: false })
  try {
    const task = { ...cellTaskOf(code, { resultBytesMax, outputBytesMax: 1000, ...asked }) }
    const { calls } = asked
    const all = calls === undefined ? task : { ...task, calls }
    const end = await cell.run(all, { ...frames.listeners(), released: () => undefined })
    frames.end(end)
    return sent
  } finally {
    cell.dispose()
  }
}

/** Frames of a session, in a list for each exec. */
async function framesOfSession(codes: readonly string[]): Promise<Sent[][]> {
  const { sent, frames } = recorder()
  const cell = new Cell({ memoryMiB: 64, webAssembly: false })
  const hooks = frames.sessionListeners()
  let ended = Promise.withResolvers<void>()
  const session = cell.open(cellTaskOf('', { entry: 'module', timeoutMs: 60_000 }), {
    ...hooks,
    ended: (report) => (hooks.ended(report), ended.resolve()),
    over: (end) => (hooks.over(end), ended.resolve()),
  })
  const lists: Sent[][] = []
  try {
    for (const [at, code] of codes.entries()) {
      ended = Promise.withResolvers()
      const shape = cellShapeOf(code, 'js')
      const plan = 'plan' in shape && shape.plan
      assert.ok(plan, code)
      const cellPlan = { ...plan, edits: plan.edits.map((edit) => [...edit]) }
      const limits = { timeoutMs: 20_000, outputBytesMax: 1000, resultBytesMax }
      session.exec({ id: `exec-${at}`, code, cell: cellPlan, ...limits } as never)
      await ended.promise
      lists.push(sent.splice(0))
    }
    return lists
  } finally {
    cell.dispose()
  }
}

const nothing = () => undefined

function framesOfModule(bytes: Uint8Array, more: object = {}): Sent[] {
  const { sent, frames } = recorder()
  const code = Buffer.from(bytes).toString('base64')
  const limits = { memoryBytes: 16 * MiB, outputBytesMax: 1000, resultBytesMax }
  const { resultText, ...end } = runModule(
    { entry: 'function', code, inputText: 'null', ...limits, ...more },
    { stdout: nothing, stderr: nothing, collect: nothing, abandon: () => assert.fail() },
  )
  const cost = { cpuTimeMs: 0, executionMs: 0, poisoned: false }
  frames.headed(kind.end, { ...end, ...cost }, resultText)
  return sent
}

/** Modules of Node that exist only with their prefix. */
const prefixed = ['sqlite', 'test', 'test/reporters', 'sea', 'ffi'].filter((name) =>
  isBuiltin(`node:${name}`),
)
/** Modules of Node, those first that few lists of modules have: a job reports no more than 64. */
const modules = [
  ...prefixed.map((name) => `node:${name}`),
  ...builtinModules.filter((name) => name.startsWith('_')),
  ...builtinModules,
]

const throwing = [
  'throw new Error("x".repeat(1e6))',
  'const e = new Error("\\0".repeat(1e5)); e.name = "\\0".repeat(1e5); throw e',
  'throw new Error("\\ud83d".repeat(8000))',
  'throw { name: 7, message: {}, stack: Symbol() }',
  'throw Object.create(null)',
  'throw function f() {}',
  'throw Symbol("\\udc00")',
  'throw null',
  'throw 2n ** 70000n',
  'throw new RangeError("Array buffer allocation failed")',
  'throw new AggregateError([new Error("a".repeat(1e5)), 7], "b", { cause: "c".repeat(1e5) })',
  'new Uint8Array(2e9)',
  'new ArrayBuffer(2 ** 40)',
  'new RegExp("(".repeat(1e5))',
  'eval("\\u2028(")',
  'null.f',
  'fs.readFile()',
  'await call("nobody granted it")',
  'await call("\\ud83d".repeat(200), "\\ud83d".repeat(1000))',
  'await call("x".repeat(201))',
]

suite('Frames that a guest makes for honest code are read by the server', () => {
  test('Jobs in a cell', async () => {
    for (const code of throwing) {
      const codes = readBack(await framesOfJob(code), code)
      assert.equal(codes.length, 1, code)
      assert.notEqual(codes[0], 'ok', code)
    }
    for (const [code, told, asked = {}] of [
      ['return -0', 'ok'],
      ['return "\\ud83d".repeat(1000)', 'ok'],
      ['return "é".repeat(60_000)', 'RESULT_TOO_LARGE'],
      ['return Symbol()', 'RESULT_NOT_SERIALISABLE'],
      ['const a = []; a[0] = a; return a', 'RESULT_CIRCULAR'],
      ['console.log("\\ud83d".repeat(1e5))', 'ok'],
      ['setTimeout(() => {}, 1e6); call("echo").catch(() => {}); return 1', 'ok'],
      [
        'typeof process; typeof require; "fetch" in globalThis; await import("fs")',
        'IMPORT_REFUSED',
      ],
      ['for (let n = 0; n < 300; n++) call("x").catch(() => {})', 'ok'],
      [
        'call("echo", "é".repeat(2_097_151)).catch(() => {}); return 1',
        'ok',
        { capabilities: ['echo'] },
      ],
      ['await call("echo", "é".repeat(2_097_152))', 'USER_ERROR', { capabilities: ['echo'] }],
    ] as const)
      assert.deepEqual(readBack(await framesOfJob(code, asked), code), [told], code)
  })

  test('Jobs that probe for modules of Node', async () => {
    const probe = `for (const name of ${JSON.stringify(modules)}) try { require(name) } catch {}`
    const asked = { entry: 'module', name: 'job.mjs', files: { 'a.cjs': probe } } as const
    const sent = await framesOfJob('import "./a.cjs"; export default 1', asked)
    assert.deepEqual(readBack(sent, probe), ['ok'])
    const named = sent
      .filter((frame) => frame.kind === kind.refused)
      .map(({ payload }) => refusedSchema.parse(JSON.parse(payload.toString())).module)
    assert.deepEqual(named.slice(0, prefixed.length), prefixed)
    for (const name of modules.slice(0, 8)) {
      const code = `import ${JSON.stringify(name)}`
      const told = readBack(await framesOfJob(code, { entry: 'module', name: 'job.mjs' }), code)
      assert.deepEqual(told, ['IMPORT_REFUSED'], code)
    }
  })

  test('Batches', async () => {
    const code = `(input) => { ${throwing.map((text, at) => `if (input === ${at}) { ${text.replace('await ', 'return ')} }`).join('\n')}; return input }`
    const calls = throwing.length + 1
    const input = Array.from({ length: calls }, (_, at) => at)
    const codes = readBack(await framesOfJob(code, { entry: 'function', input, calls }), 'a batch')
    assert.deepEqual([codes.length, codes.slice(-2)], [calls + 1, ['ok', 'ok']])
    assert.ok(!codes.slice(0, -2).includes('ok'), codes.join())
  })

  test('Execs of a session', async () => {
    const codes = [
      ...throwing.map((code) => `{ ${code} }`),
      ...modules.slice(0, 8).map((name) => `import ${JSON.stringify(name)}`),
      'const f = (',
    ].filter((code) => cellShapeOf(code, 'js').kind !== 'error')
    const lists = await framesOfSession([...codes, 'const x = 5', 'x'])
    const told = lists.map((sent, at) => readBack(sent, short(codes[at] ?? 'x')))
    assert.deepEqual(told.slice(-2), [['ok'], ['ok']], 'its names last')
    for (const [at, code] of codes.entries())
      assert.ok(
        told[at]?.length === 1 && told[at][0] !== 'ok',
        `${short(code)}: ${told[at]?.join()}`,
      )
  })

  test('Denied calls in a session, 200 for each of its cells', async () => {
    const denied = 'for (let n = 0; n < 300; n++) call("x").catch(() => {})'
    const later = 'setTimeout(() => { for (let n = 0; n < 300; n++) call("z").catch(() => {}) }); 1'
    const waits = 'await new Promise((done) => setTimeout(done, 20)); call("y").catch(() => {})'
    const lists = await framesOfSession([denied, later, waits, denied])
    const names = lists.map((sent) =>
      sent
        .filter((frame) => frame.kind === kind.call)
        .map(({ payload }) => headed(callSchema, payload)?.head.name),
    )
    const count = (at: number, wanted: string) =>
      names
        .slice(0, at + 1)
        .flat()
        .filter((name) => name === wanted).length
    assert.deepEqual([count(0, 'x'), count(2, 'z'), count(2, 'y')], [200, 200, 1])
    assert.equal(count(3, 'x'), 400)
  })

  test('WebAssembly modules', () => {
    const recursive = { functions: [{ export: 'run', body: op.call(0) }] }
    const table = { min: 1, is64: true }
    const fills = [0x42, 0, ...op.nullFunction, ...i64Min, 0xfc, 17, 0]
    const twice = [1, 2].map((min) => ({
      module: 'm'.repeat(70_000),
      name: 'n'.repeat(70_000),
      memory: { min },
    }))
    const all = resultBytesMax - 1
    const bytes = new Program().does(op.i32(0), op.i32(255), op.i32(all), op.memoryFill)
    for (const [about, told, module, more] of [
      ['long names', 'WASM_TRAP', withName(wasm(recursive), 'n'.repeat(90_000))],
      ['control characters', 'WASM_TRAP', withName(wasm(recursive), '\0'.repeat(90_000))],
      ['lines', 'WASM_TRAP', withName(wasm(recursive), 'wasm://\n'.repeat(10_000))],
      ['an import twice', 'WASM_LINK', wasm({ imports: twice.toReversed(), functions: [] })],
      ['an import of WASI', 'WASM_EXPORT_MISSING', wasm({ imports: [wasi.fd_write] })],
      ['invalid UTF-8', 'RESULT_TOO_LARGE', paged(bytes, all), { entry: 'program' }],
      [
        'a 64-bit length',
        'INSTRUCTIONS',
        wasm({ table, functions: [{ export: 'run', body: fills }] }),
        { instructionsMax: 1000 },
      ],
    ] as const)
      assert.deepEqual(readBack(framesOfModule(module, more), about), [told], about)
  })
})

/** `i64.const` of -2^40. */
const i64Min = [0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x60]

/** A program of two pages that writes so many bytes from address 0 as its result. */
function paged(program: Program, bytes: number): Buffer {
  // The text makes room for as many bytes.
  return program.say(1, 'x'.repeat(bytes)).write(3, 0, bytes).module
}
