/**
 * WebAssembly modules whose instructions are counted, beside the same modules uncounted: their time, the time of the
 * rewrite, and their sizes. In this process: it is the code of the modules that differs, not their wall.
 *
 *     node bench/metering.ts [--rounds 8] [--json]
 */
import os from 'node:os'
import { parseArgs } from 'node:util'
import { meter } from '../src/lib/wasm-meter.js'
import { readModule } from '../src/lib/wasm-module.js'
import { op, wasm, type Parts } from '../tests/fixtures/wasm.ts'

const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '8' }, json: { type: 'boolean' } },
})
const fuel = 2n ** 53n - 1n
const { Instance, Module } = (globalThis as any).WebAssembly

const [get, set, i32] = [op.get, op.set, op.i32]
const again = (counter: number, bound: readonly number[], label = 0) => [
  ...get(counter),
  ...i32(1),
  ...op.i32Add,
  0x22,
  counter,
  ...bound,
  0x48,
  ...op.branchIf(label),
]
const takesOne = { export: 'run', params: ['i32'], results: ['i32'] } as const
const shiftLeft = (by: number) => [...i32(by), 0x74]

const fibonacci = [
  ...get(0),
  ...i32(2),
  0x48,
  0x04,
  0x7f,
  ...get(0),
  0x05,
  ...get(0),
  ...i32(1),
  ...op.i32Sub,
  ...op.call(0),
  ...get(0),
  ...i32(2),
  ...op.i32Sub,
  ...op.call(0),
  ...op.i32Add,
  0x0b,
]
/** Sums integers of a mebibyte, and writes to each. */
const memory = [
  ...op.loop([
    ...get(1),
    ...shiftLeft(2),
    ...i32(0xffffc),
    0x71,
    0x22,
    2,
    ...get(2),
    ...op.load(),
    ...get(1),
    ...op.i32Add,
    ...op.store(),
    ...again(1, get(0)),
  ]),
  ...get(2),
]
const side = 96
const place = (row: number, column: number) => [
  ...get(row),
  ...i32(side),
  ...op.i32Mul,
  ...get(column),
  ...op.i32Add,
  ...shiftLeft(3),
]
const far = (...page: readonly number[]) => [3, 0x80, 0x80, ...page]
const product = [
  ...get(4),
  ...place(1, 3),
  0x2b,
  3,
  0,
  ...place(3, 2),
  0x2b,
  ...far(0x10),
  0xa2,
  0xa0,
  ...set(4),
]
/** Multiplies matrices of doubles. */
const matrix = [
  ...op.loop([
    ...i32(0),
    ...set(1),
    ...op.loop([
      ...i32(0),
      ...set(2),
      ...op.loop([
        0x44,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        ...set(4),
        ...i32(0),
        ...set(3),
        ...op.loop([...product, ...again(3, i32(side))]),
        ...place(1, 2),
        ...get(4),
        0x39,
        ...far(0x20),
        ...again(2, i32(side)),
      ]),
      ...again(1, i32(side)),
    ]),
    ...get(0),
    ...i32(1),
    ...op.i32Sub,
    0x22,
    0,
    ...op.branchIf(0),
  ]),
  ...i32(1),
]
const round = [
  ...get(1),
  ...i32(7),
  0x78,
  ...get(1),
  ...i32(18),
  0x78,
  0x73,
  ...get(2),
  ...op.i32Add,
  ...get(1),
  ...i32(3),
  0x76,
  0x73,
  ...i32(0x5a82_7999),
  ...op.i32Add,
  ...set(2),
  ...get(2),
  ...i32(5),
  0x77,
  ...get(1),
  ...op.i32Add,
  ...set(1),
]
/** Sixteen rounds of rotations and additions, as of a hash. */
const hash = [
  ...op.loop([
    ...Array.from({ length: 16 }, () => round).flat(),
    ...get(0),
    ...i32(1),
    ...op.i32Sub,
    0x22,
    0,
    ...op.branchIf(0),
  ]),
  ...get(1),
]
const countdown = [
  ...op.loop([...get(0), ...i32(1), ...op.i32Sub, 0x22, 0, ...op.branchIf(0)]),
  ...get(0),
]
const pages = { memory: { min: 64 } }
const kernels: Readonly<Record<string, readonly [Parts, input: number]>> = {
  'fibonacci, calls alone': [{ functions: [{ ...takesOne, body: fibonacci }] }, 32],
  'loop over memory': [
    { ...pages, functions: [{ ...takesOne, locals: ['i32', 'i32'], body: memory }] },
    30_000_000,
  ],
  'matrices of doubles': [
    { ...pages, functions: [{ ...takesOne, locals: ['i32', 'i32', 'i32', 'f64'], body: matrix }] },
    20,
  ],
  'rounds of a hash': [
    { functions: [{ ...takesOne, locals: ['i32', 'i32'], body: hash }] },
    1_000_000,
  ],
  'empty loop': [{ functions: [{ ...takesOne, body: countdown }] }, 100_000_000],
}

const report = {
  machine: {
    cores: os.availableParallelism(),
    cpu: os.cpus()[0]?.model,
    node: process.version,
    load: os.loadavg()[0],
  },
  kernels: Object.fromEntries(
    Object.entries(kernels).map(([name, [parts, input]]) => [name, compared(parts, input)]),
  ),
  rewrite: rewriteOf(4000),
}
console.log(JSON.stringify(report, undefined, flags.json ? 0 : 2))

/** Least time of several rounds, the two beside each other in each. */
function compared(parts: Parts, input: number) {
  const bytes = wasm(parts)
  const metered = meter(bytes, readModule(bytes))
  const plain = new Instance(new Module(bytes)).exports
  const { exports } = new Instance(new Module(metered.bytes))
  const least = { plain: Infinity, counted: Infinity }
  for (let turn = 0; turn < Number(flags.rounds); turn++) {
    least.plain = Math.min(
      least.plain,
      msOf(() => plain.run(input)),
    )
    exports[metered.fuel].value = fuel
    least.counted = Math.min(
      least.counted,
      msOf(() => exports.run(input)),
    )
  }
  return {
    instructions: Number(fuel - exports[metered.fuel].value),
    plainMs: rounded(least.plain),
    countedMs: rounded(least.counted),
    ratio: rounded(least.counted / least.plain),
    bytes: [bytes.length, metered.bytes.length],
  }
}

/** The rewrite of a larger module, beside its compilation. */
function rewriteOf(functions: number) {
  const body = { params: ['i32'], results: ['i32'], locals: ['i32', 'i32'], body: memory } as const
  const bytes = wasm({ ...pages, functions: Array.from({ length: functions }, () => body) })
  const ms = Math.min(...[1, 2, 3].map(() => msOf(() => meter(bytes, readModule(bytes)))))
  const compileMs = Math.min(...[1, 2, 3].map(() => msOf(() => new Module(bytes))))
  return { bytes: bytes.length, ms: rounded(ms), compileMs: rounded(compileMs) }
}

function msOf(work: () => unknown): number {
  const began = performance.now()
  work()
  return performance.now() - began
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}
