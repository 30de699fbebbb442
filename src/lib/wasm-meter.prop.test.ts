import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { sampledRuns } from '../../tests/fixtures/drawn.ts'
import { op, wasm, type Parts } from '../../tests/fixtures/wasm.ts'
import { meter } from './wasm-meter.js'
import { readModule, WasmError } from './wasm-module.js'

const numRuns = process.env['MAYFLY_LONG'] ? 20_000 : sampledRuns(500, import.meta.filename)

/** Missing in the types of Node alone. */
const { Instance, Module, RuntimeError, validate } = (globalThis as any).WebAssembly

/** A program of one variable, `x`, over a page of memory. */
type Statement =
  | { readonly kind: 'add'; readonly value: number }
  | { readonly kind: 'load' | 'store' | 'divide'; readonly at: number }
  | { readonly kind: 'fill'; readonly at: number; readonly length: number }
  | { readonly kind: 'helper'; readonly isIndirect: boolean }
  | { readonly kind: 'if'; readonly odd: Program; readonly even: Program }
  | { readonly kind: 'leave'; readonly body: Program }
  | { readonly kind: 'loop'; readonly times: number; readonly body: Program }
  | { readonly kind: 'switch'; readonly cases: readonly [Program, Program] }
type Program = readonly Statement[]

const X = 0
/** A loop has a counter of its own by its depth. */
const DEPTH_MAX = 3
const helperBody = [...op.get(0), ...op.i32(3), ...op.i32Mul]
const isOdd = [...op.get(X), ...op.i32(1), 0x71]

function compile(program: Program, depth = 0): readonly number[] {
  return program.flatMap((one) => compiled(one, depth))
}

function compiled(one: Statement, depth: number): readonly number[] {
  const inner = (program: Program) => compile(program, depth + 1)
  switch (one.kind) {
    case 'add':
      return [...op.get(X), ...op.i32(one.value), ...op.i32Add, ...op.set(X)]
    case 'load':
      return [...op.i32(one.at), ...op.load(), ...op.set(X)]
    case 'store':
      return [...op.i32(one.at), ...op.get(X), ...op.store()]
    case 'divide':
      return [...op.i32(one.at), ...isOdd, ...op.i32Div, ...op.set(X)]
    case 'fill':
      return [...op.i32(one.at), ...op.get(X), ...op.i32(one.length), ...op.memoryFill]
    case 'helper': {
      const call = one.isIndirect ? [...op.i32(0), ...op.callIndirect(0)] : op.call(1)
      return [...op.get(X), ...call, ...op.set(X)]
    }
    case 'if':
      return [...isOdd, 0x04, 0x40, ...inner(one.odd), 0x05, ...inner(one.even), 0x0b]
    case 'leave':
      return op.block([...isOdd, ...op.branchIf(0), ...inner(one.body)])
    case 'loop': {
      const counter = 1 + depth
      const again = [
        ...op.get(counter),
        ...op.i32(1),
        ...op.i32Sub,
        0x22,
        counter,
        ...op.branchIf(0),
      ]
      return [...op.i32(one.times), ...op.set(counter), ...op.loop([...inner(one.body), ...again])]
    }
    case 'switch': {
      const chosen = op.block([...isOdd, 0x0e, 1, 0, 1])
      const first = op.block([...chosen, ...compile(one.cases[0], depth + 1), ...op.branch(1)])
      return op.block([...first, ...compile(one.cases[1], depth + 1)])
    }
  }
}

/** Runs a program as the engine does, and counts; throws at a division by 0. */
class Interpreter {
  x
  count = 0
  readonly memory = new DataView(new ArrayBuffer(65_536))

  constructor(x: number) {
    this.x = x
  }

  run(program: Program): void {
    for (const one of program) this.#step(one)
  }

  #step(one: Statement): void {
    const isOdd = (this.x & 1) === 1
    switch (one.kind) {
      case 'add':
        return this.#does(4, () => (this.x = (this.x + one.value) | 0))
      case 'load':
        return this.#does(3, () => (this.x = this.memory.getInt32(one.at, true)))
      case 'store':
        return this.#does(3, () => this.memory.setInt32(one.at, this.x, true))
      case 'divide':
        return this.#does(6, () => {
          if (!isOdd) throw new RangeError('divide by zero')
          this.x = one.at
        })
      case 'fill':
        return this.#does(4 + (one.length >> 3), () =>
          new Uint8Array(this.memory.buffer).fill(this.x, one.at, one.at + one.length),
        )
      case 'helper':
        return this.#does(one.isIndirect ? 7 : 6, () => (this.x = Math.imul(this.x, 3)))
      case 'if':
        return this.#does(4, () => this.run(isOdd ? one.odd : one.even))
      case 'leave':
        return this.#does(4, () => (isOdd ? undefined : this.run(one.body)))
      case 'switch':
        this.#does(4, () => this.run(one.cases[isOdd ? 1 : 0]))
        // The first case branches over the second.
        return void (this.count += isOdd ? 0 : 1)
      case 'loop':
        this.count += 2
        for (let turn = 0; turn < one.times; turn++) {
          this.run(one.body)
          this.count += 5
        }
    }
  }

  #does(count: number, work: () => unknown): void {
    this.count += count
    work()
  }
}

function moduleOf(program: Program): Parts {
  const signature = { params: ['i32'], results: ['i32'] } as const
  const locals = Array.from({ length: DEPTH_MAX + 2 }, () => 'i32' as const)
  return {
    memory: { min: 1, max: 1 },
    table: { min: 1 },
    elements: [1],
    functions: [
      { ...signature, export: 'run', locals, body: [...compile(program), ...op.get(X)] },
      { ...signature, body: helperBody },
    ],
  }
}

const at = fc.nat(2000)
const { program } = fc.letrec<{ statement: Statement; program: Program }>((tie) => {
  const inner = tie('program')
  const leaf: fc.Arbitrary<Statement> = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), value: fc.integer({ min: -9, max: 9 }) }),
    fc.record({ kind: fc.constantFrom('load' as const, 'store' as const), at }),
    fc.record({ kind: fc.constant('fill' as const), at, length: fc.nat(3000) }),
    fc.record({
      kind: fc.constant('helper' as const),
      isIndirect: fc.boolean(),
    }),
  )
  const traps = fc.record({ kind: fc.constant('divide' as const), at })
  return {
    statement: fc.oneof(
      { maxDepth: DEPTH_MAX, depthSize: 'small' },
      { weight: 6, arbitrary: leaf },
      { weight: 1, arbitrary: traps },
      fc.record({ kind: fc.constant('if' as const), odd: inner, even: inner }),
      fc.record({ kind: fc.constant('leave' as const), body: inner }),
      fc.record({
        kind: fc.constant('loop' as const),
        times: fc.integer({ min: 1, max: 9 }),
        body: inner,
      }),
      fc.record({ kind: fc.constant('switch' as const), cases: fc.tuple(inner, inner) }),
    ),
    program: fc.array(tie('statement'), { maxLength: 5 }),
  }
})

interface Run {
  readonly result: number | string
  readonly memory: string
  /** Instructions that ran; below 0 are none left. */
  readonly left: bigint
}

function run(
  bytes: Uint8Array,
  input: number,
  fuel?: { readonly name: string; readonly value: bigint },
): Run {
  const { exports } = new Instance(new Module(bytes))
  if (fuel) exports[fuel.name].value = fuel.value
  let result: number | string
  try {
    result = exports.run(input)
  } catch (error) {
    assert.ok(error instanceof RuntimeError, String(error))
    result = String(error)
  }
  const memory = Buffer.from(exports.memory.buffer).toString('latin1')
  return { result, memory, left: fuel ? exports[fuel.name].value : 0n }
}

test('A metered module behaves like the original, and counts each instruction', () => {
  fc.assert(
    fc.property(program, fc.integer(), (statements, input) => {
      const bytes = wasm(moduleOf(statements))
      const { bytes: metered, fuel: name } = meter(bytes, readModule(bytes))
      const reference = new Interpreter(input)
      let hasTrapped = false
      try {
        reference.run(statements)
      } catch {
        hasTrapped = true
      }
      const plain = run(bytes, input)
      const plenty = run(metered, input, { name, value: 2n ** 40n })
      assert.deepEqual([plenty.result, plenty.memory], [plain.result, plain.memory])
      assert.equal(typeof plain.result === 'string', hasTrapped)
      const used = 2n ** 40n - plenty.left
      // The rest of the segment that a trap cut is counted as well.
      if (hasTrapped) assert.ok(used >= BigInt(reference.count))
      else assert.equal(used, BigInt(reference.count) + 1n, 'and the last, which reads the result')
      assert.deepEqual(run(metered, input, { name, value: used }), { ...plenty, left: 0n })
      const less = run(metered, input, { name, value: used - 1n })
      assert.match(String(less.result), /unreachable/)
      assert.ok(less.left < 0n)
    }),
    { numRuns },
  )
})

test('A module with any bytes changed is valid once metered, or it is refused', () => {
  const sample = wasm({
    ...moduleOf([
      { kind: 'loop', times: 3, body: [{ kind: 'fill', at: 8, length: 64 }] },
      { kind: 'switch', cases: [[{ kind: 'load', at: 4 }], [{ kind: 'divide', at: 2 }]] },
      { kind: 'leave', body: [{ kind: 'helper', isIndirect: true }] },
    ]),
    data: [{ at: 3, text: 'text' }],
  })
  const change = fc.tuple(fc.nat(sample.length - 1), fc.nat(255))
  let valid = 0
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const bytes = Buffer.from(sample)
      for (const [place, byte] of changes) bytes[place] = byte
      const isValid = validate(bytes)
      try {
        const metered = meter(bytes, readModule(bytes))
        if (!isValid) return
        valid++
        assert.ok(validate(metered.bytes), bytes.toString('hex'))
      } catch (error) {
        assert.ok(error instanceof WasmError, String(error))
        assert.ok(!isValid || readable(error), `${error.message}: ${bytes.toString('hex')}`)
      }
    }),
    { numRuns: numRuns * 40 },
  )
  assert.ok(valid > numRuns, `${valid} valid modules`)
})

/** Bounds of the reader that the engine does not have. */
function readable({ message }: WasmError): boolean {
  return /too long|too large|not known|no WebAssembly module/.test(message)
}

test('Any bytes after a header are metered, or refused as invalid', () => {
  const header = wasm({}).subarray(0, 8)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (tail) => {
      const bytes = Buffer.concat([header, tail])
      try {
        meter(bytes, readModule(bytes))
      } catch (error) {
        assert.ok(error instanceof WasmError, String(error))
      }
    }),
    { numRuns: numRuns * 4 },
  )
})
