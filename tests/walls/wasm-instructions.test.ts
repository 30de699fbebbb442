import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import type { TaskEnd } from '../../src/contract/provider.ts'
import { inWasm } from '../conformance/guests-in-wasm.ts'
import { Stand, type Made, type Wish } from '../conformance/stand.ts'
import { makeWasi } from '../conformance/wasi.ts'
import { call, Program } from '../fixtures/wasi-program.ts'
import { op, wasi, wasm, type Parts } from '../fixtures/wasm.ts'

/** Instruction limit that attacks reach long before their timeout. */
const fewInstructions = 1_000_000
const timeout = 20_000
const plenty = 10_000_000

const fibonacci: Parts = {
  functions: [
    {
      export: 'run',
      params: ['i32'],
      results: ['i32'],
      body: [
        ...op.get(0),
        ...op.i32(2),
        0x48,
        0x04,
        0x7f,
        ...op.get(0),
        0x05,
        ...op.get(0),
        ...op.i32(1),
        ...op.i32Sub,
        ...op.call(0),
        ...op.get(0),
        ...op.i32(2),
        ...op.i32Sub,
        ...op.call(0),
        ...op.i32Add,
        0x0b,
      ],
    },
  ],
}

const aloneIn = (...body: readonly number[]): Parts => ({ functions: [{ export: 'run', body }] })

/** Endless programs, each with another looping instruction. */
const endless: Readonly<Record<string, Parts>> = {
  'a loop of one branch': aloneIn(...op.loop(op.branch(0))),
  'a loop in nested blocks': aloneIn(...op.loop(op.block(op.block(op.branch(2))))),
  'a table of branches to heads of loops': aloneIn(
    ...op.loop(op.loop([...op.i32(5), 0x0e, 3, 0, 1, 0, 1])),
  ),
  'calls in the last place': aloneIn(0x12, 0),
  'indirect calls in the last place': {
    table: { min: 1 },
    elements: [0],
    functions: [{ export: 'run', body: [...op.i32(0), 0x13, 0, 0] }],
  },
  'calls that return': {
    functions: [{ export: 'run', body: op.loop([...op.call(1), ...op.branch(0)]) }, { body: [] }],
  },
  'indirect calls': {
    table: { min: 1 },
    elements: [1],
    functions: [
      { export: 'run', body: op.loop([...op.i32(0), ...op.callIndirect(0), ...op.branch(0)]) },
      { body: [] },
    ],
  },
  'calls of the host': {
    imports: [wasi.environ_sizes_get],
    memory: { min: 1 },
    functions: [
      {
        export: 'run',
        body: op.loop([...op.i32(0), ...op.i32(4), ...op.call(0), ...op.drop, ...op.branch(0)]),
      },
    ],
  },
  'a start function': {
    functions: [{ export: 'run', body: [] }, { body: op.loop(op.branch(0)) }],
    start: 1,
  },
  'an initialisation': {
    functions: [
      { export: 'run', body: [] },
      { export: '_initialize', body: op.loop(op.branch(0)) },
    ],
  },
  'a loop in a handler of all exceptions': aloneIn(
    0x02,
    0x40,
    0x1f,
    0x40,
    1,
    2,
    0,
    ...op.loop(op.branch(0)),
    0x0b,
    0x0b,
  ),
  'a loop in a handler of the older kind': aloneIn(
    0x06,
    0x40,
    ...op.loop(op.branch(0)),
    0x19,
    0x0b,
  ),
}

suite('Counted instructions of a module', () => {
  let made: Made
  let stand: Stand
  before(async () => {
    made = await makeWasi()
    stand = new Stand(made.provider, makeWasi, inWasm)
  })
  after(async () => {
    await made.provider.close?.()
    await made.close()
  })

  const run = async (parts: Parts | Buffer, instructions?: number, wish: Wish = {}) => {
    const code = (Buffer.isBuffer(parts) ? parts : wasm(parts)).toString('base64')
    const limits = { timeout, ...(instructions !== undefined && { instructions }) }
    return (await stand.run(code, { entry: 'function', ...wish, limits })).end
  }
  const runProgram = async (program: Program, instructions: number): Promise<TaskEnd> =>
    (await stand.run(program.base64, { limits: { timeout, instructions } })).end
  const assertSpent = (end: TaskEnd, limit: number, name = '') => {
    const told = [end.status, end.error?.code, end.instructions]
    assert.deepEqual(told, ['limit', 'INSTRUCTIONS', limit], `${name}: ${JSON.stringify(end)}`)
  }

  test('The same module and input give the same count each time, and another input another count (S3-4)', async () => {
    for (let turn = 0; turn < 4; turn++) {
      const end = await run(fibonacci, plenty, { input: 15 })
      // 987 calls that end at once, 986 that call two more.
      assert.deepEqual([end.resultText, end.instructions], ['610', 987 * 5 + 986 * 13])
    }
    const larger = await run(fibonacci, plenty, { input: 16 })
    assert.equal(larger.instructions, 1597 * 5 + 1596 * 13)
    const unlimited = await run(fibonacci, undefined, { input: 15 })
    assert.deepEqual([unlimited.resultText, unlimited.instructions], ['610', undefined])
  })

  test('A module runs with a limit of exactly its instructions, and ends with one less (S3-4)', async () => {
    const { instructions = 0 } = await run(fibonacci, plenty, { input: 10 })
    const exact = await run(fibonacci, instructions, { input: 10 })
    assert.deepEqual([exact.status, exact.instructions], ['ok', instructions])
    assertSpent(await run(fibonacci, instructions - 1, { input: 10 }), instructions - 1)
    assertSpent(await run(fibonacci, 1, { input: 10 }), 1)
  })

  test('Programs are counted up to their exit, and keep their output', async () => {
    const talks = () => new Program().say(1, 'out').does(op.i32(0), op.call(call.proc_exit))
    const { status, instructions = 0 } = await runProgram(talks().say(1, 'late'), plenty)
    assert.equal(status, 'ok')
    assert.equal(
      (await runProgram(talks(), plenty)).instructions,
      instructions,
      'code after its exit',
    )
    assertSpent(await runProgram(talks(), instructions - 1), instructions - 1)
    const limits = { timeout, instructions: instructions - 1 }
    assert.equal((await stand.run(talks().base64, { limits })).stdout, 'out')
  })

  test("A module's own trap is reported as such, with its count", async () => {
    const end = await run({ functions: [{ export: 'run', body: op.unreachable }] }, 1)
    assert.deepEqual([end.error?.code, end.instructions], ['WASM_TRAP', 1])
  })

  for (const [name, parts] of Object.entries(endless))
    test(`An endless program ends at its instruction limit: ${name}`, async () => {
      assertSpent(await run(parts, fewInstructions), fewInstructions, name)
    })

  test('Bulk memory instructions count by their length', async () => {
    const fill = (length: number): Parts => ({
      memory: { min: 16 },
      functions: [
        {
          export: 'run',
          body: [...op.i32(0), ...op.i32(1), ...op.i32(length), ...op.memoryFill],
        },
      ],
    })
    assert.equal((await run(fill(2 ** 20), plenty)).instructions, 4 + 2 ** 17)
    assertSpent(await run(fill(-1), plenty), plenty, '4 GiB')
    const copies = [...op.i32(0), ...op.i32(1), ...op.i32(-8), 0xfc, 10, 0, 0]
    const copied: Parts = { memory: { min: 1 }, functions: [{ export: 'run', body: copies }] }
    assertSpent(await run(copied, plenty), plenty, 'a copy')
    const elements = [...op.i32(0), ...op.nullFunction, ...op.i32(-1), 0xfc, 17, 0]
    const table: Parts = { table: { min: 1 }, functions: [{ export: 'run', body: elements }] }
    assertSpent(await run(table, plenty), plenty, 'a table')
    const is64 = { min: 1, is64: true }
    // Lengths of -1 and of -2^40, which have bit 63.
    for (const length of [[0x7f], [0x80, 0x80, 0x80, 0x80, 0x80, 0x60]])
      for (const elements of [
        [0x42, 0, ...op.nullFunction, 0x42, ...length, 0xfc, 17, 0],
        [0x42, 0, 0x42, 0, 0x42, ...length, 0xfc, 14, 0, 0],
      ]) {
        const large: Parts = { table: is64, functions: [{ export: 'run', body: elements }] }
        assertSpent(await run(large, plenty), plenty, `a 64-bit table, ${elements.join()}`)
      }
    const one = [0x42, 0, ...op.nullFunction, 0x42, 1, 0xfc, 17, 0]
    const fits = await run({ table: is64, functions: [{ export: 'run', body: one }] }, plenty)
    assert.deepEqual([fits.status, fits.instructions], ['ok', 5])
  })

  test('The module cannot access the counter by index or by name', async () => {
    for (const index of [0, 1, 2]) {
      const body = [0x42, 0x7f, 0x24, index]
      const end = await run({ functions: [{ export: 'run', body }] }, plenty)
      assert.deepEqual([end.status, end.error?.code], ['error', 'WASM_INVALID'])
    }
    for (const taken of ['mayfly:instructions', 'mayfly:start']) {
      const named: Parts = {
        functions: [
          { export: 'run', results: ['i32'], body: op.i32(7) },
          { export: taken, body: [] },
        ],
        start: 1,
      }
      const end = await run(named, plenty)
      assert.deepEqual([end.resultText, end.instructions], ['7', 1])
    }
  })

  test('A limit on a module that cannot be counted is refused with the reason, and it runs without one', async () => {
    const depth = 60_000
    const blocks = Array.from({ length: depth }, () => [0x02, 0x40]).flat()
    const body = [...blocks, ...Array.from({ length: depth }, () => 0x0b), ...op.i32(7)]
    const deep: Parts = { functions: [{ export: 'run', results: ['i32'], body }] }
    const { error, instructions } = await run(deep, plenty)
    assert.deepEqual(
      [error?.code, error?.details, instructions],
      ['WASM_UNSUPPORTED', { feature: 'instructions' }, undefined],
    )
    assert.match(error?.message ?? '', /nested too deep/)
    assert.equal((await run(deep)).resultText, '7')
  })

  test('The start function counts, and runs before all others', async () => {
    const parts: Parts = {
      memory: { min: 1 },
      functions: [
        { export: 'run', results: ['i32'], body: [...op.i32(0), ...op.load()] },
        { body: [...op.i32(0), ...op.i32(5), ...op.store()] },
      ],
      start: 1,
    }
    const end = await run(parts, 5)
    assert.deepEqual([end.resultText, end.instructions], ['5', 5])
    assertSpent(await run(parts, 2), 2, 'in the start function')
  })

  test('A worker keeps counted and uncounted modules apart', async () => {
    const results = []
    for (const limit of [plenty, undefined, 100, undefined, plenty])
      results.push((await run(fibonacci, limit, { input: 12 })).status)
    assert.deepEqual(results, ['ok', 'ok', 'limit', 'ok', 'ok'])
  })
})
