import { op, wasm, type ValueType } from '../../../fixtures/wasm.ts'
import {
  attack,
  counted,
  differs,
  forever,
  i64,
  imported,
  put,
  signatures,
  told,
  wasiCalls,
  type WasiCall,
} from '../calls.ts'
import type { WasiCase } from '../case.ts'

const pageBytes = 65_536
const sizeBytes = 2 * pageBytes

/** Words around what a call may write, which it must leave as they are. */
const guards = [64, 128, 2048, 4096] as const
const guard = guards.flatMap((at) => put(at, 0x5eed_0000 + at))
const guarded = guards.flatMap((at) => differs(at, 0x5eed_0000 + at))

/** Vectors that overlap each other, their own table and the answer. */
export const vectors: readonly WasiCase[] = [
  {
    name: 'a thousand vectors of the whole memory',
    family: 'vectors',
    because: '1,024 vectors of 128 KiB are 128 MiB that one call asks for',
    module: () =>
      attack(['fd_write'], (invoke) => [
        ...Array.from({ length: 1024 }, (_none, index) => [
          ...put(8192 + index * 8, 0),
          ...put(8196 + index * 8, sizeBytes),
        ]).flat(),
        ...Array.from({ length: 64 }, () => [
          ...invoke('fd_write', 1, 8192, 1024, 32),
          0x1a,
        ]).flat(),
        ...told,
      ]),
    expect: ['ok', 'limit', 'timeout'],
    gives: 0,
  },
  {
    name: 'more vectors than the table has',
    family: 'vectors',
    because: 'a count times eight that wraps to a small table',
    module: () =>
      attack(['fd_write', 'fd_read'], (invoke) => [
        ...[1025, -1, 0x2000_0000, 0x2000_0001, 0x4000_0001, 0x8000_0001, 0x1fff_ffff].flatMap(
          (count) => [
            ...counted(invoke('fd_write', 1, 0, count, 32)),
            ...counted(invoke('fd_read', 0, 0, count, 32)),
          ],
        ),
        ...told,
      ]),
    expect: ['ok'],
    gives: 0,
  },
  {
    name: 'vectors out of the memory',
    family: 'vectors',
    because: 'the sum of address and length wraps, or the table lies across the end',
    module: () =>
      attack(['fd_write', 'fd_read'], (invoke) => [
        ...(
          [
            [sizeBytes - 1, 2],
            [sizeBytes, 1],
            [-1, 1],
            [-16, 32],
            [0x7fff_ffff, 1],
            [1, -1],
          ] as const
        ).flatMap(([at, length]) => [
          ...put(0, at),
          ...put(4, length),
          ...counted(invoke('fd_write', 1, 0, 1, 32)),
          ...counted(invoke('fd_write', 3, 0, 1, 32)),
        ]),
        ...counted(invoke('fd_write', 1, sizeBytes - 4, 1, 32)),
        ...counted(invoke('fd_write', 1, -8, 1, 32)),
        ...told,
      ]),
    expect: ['ok'],
    gives: 0,
  },
  {
    name: 'a read over its own table',
    family: 'vectors',
    because:
      'what is read replaces the vectors that are still to be read into, and the count of bytes',
    module: () =>
      attack(['fd_read'], (invoke) => [
        ...Array.from({ length: 8 }, (_none, index) => [
          ...put(index * 8, 0),
          ...put(index * 8 + 4, 64),
        ]).flat(),
        ...guard,
        ...invoke('fd_read', 0, 0, 8, 4),
        0x1a,
        // The input is `null`: its four bytes at 0, where the first vector was, and their count.
        ...differs(0, 0x6c6c_756e),
        ...differs(4, 4),
        ...put(0, 0),
        ...put(4, 4096),
        ...invoke('fd_read', 0, 0, 1, 8),
        0x1a,
        ...differs(8, 0),
        ...guarded,
        ...told,
      ]),
    expect: ['ok'],
    gives: 0,
  },
]

/** Parameters that are addresses where a function writes or reads, and arguments that make it do so. */
const pointing: readonly (readonly [WasiCall, (at: number) => readonly (number | bigint)[]])[] = [
  ['args_sizes_get', (at) => [at, 0]],
  ['args_sizes_get', (at) => [0, at]],
  ['args_get', (at) => [at, 0]],
  ['args_get', (at) => [0, at]],
  ['environ_sizes_get', (at) => [at, 0]],
  ['environ_sizes_get', (at) => [0, at]],
  ['clock_res_get', (at) => [0, at]],
  ['clock_time_get', (at) => [1, 0n, at]],
  ['fd_fdstat_get', (at) => [1, at]],
  ['fd_filestat_get', (at) => [1, at]],
  ['fd_write', (at) => [1, at, 1, 0]],
  ['fd_write', (at) => [1, 16, 1, at]],
  ['fd_read', (at) => [0, at, 1, 0]],
  ['fd_read', (at) => [0, 16, 1, at]],
  ['random_get', (at) => [at, 64]],
  ['poll_oneoff', (at) => [at, 0, 1, 0]],
  ['poll_oneoff', (at) => [0, at, 1, 0]],
  ['poll_oneoff', (at) => [0, 0, 1, at]],
]

export const pointers: readonly WasiCase[] = [
  {
    name: 'pointers at the edge of the memory',
    family: 'pointers',
    because: 'each address of each call, from the last byte on and at the ends of 32 bits',
    module: () => edges({}),
    expect: ['ok'],
    gives: 0,
  },
  {
    name: 'pointers into a memory that has grown',
    family: 'pointers',
    because: 'the buffer from before is detached, and addresses of the new one begin behind it',
    module: () =>
      attack(['random_get', 'fd_write'], (invoke) => [
        ...counted(invoke('random_get', sizeBytes, 16)),
        ...op.i32(1),
        ...op.grow,
        0x1a,
        ...counted(invoke('random_get', sizeBytes + pageBytes, 16)),
        ...counted(invoke('random_get', sizeBytes + pageBytes - 8, 16)),
        ...put(sizeBytes, 4),
        ...invoke('random_get', sizeBytes, 16),
        ...op.get(0),
        ...op.i32Add,
        ...op.set(0),
        ...told,
      ]),
    expect: ['ok'],
    gives: 0,
  },
  {
    name: 'pointers without a memory',
    family: 'pointers',
    because: 'a module that exports none',
    module: () => edges({ hidden: true }),
    expect: ['error'],
  },
]

function edges({ hidden = false }): Buffer {
  const names = [...new Set(pointing.map(([name]) => name))]
  const at = [sizeBytes - 1, sizeBytes - 3, sizeBytes, -1, -4, -8, 0x7fff_ffff, -0x8000_0000]
  return attack(
    names,
    (invoke) => [
      ...at.flatMap((address) =>
        pointing.flatMap(([name, args]) => counted(invoke(name, ...args(address)))),
      ),
      ...told,
    ],
    { memory: { min: 2, hidden } },
  )
}

/** Values that no argument of WASI has, by the type that a module declares for all of its parameters. */
const odd: Readonly<Partial<Record<ValueType, readonly (readonly number[])[]>>> = {
  f64: [NaN, 0.5, -0.5, 4294967297, 4294967360, 1e300, -1e300, Infinity].map(f64),
  f32: [[0x43, 0, 0, 0xc0, 0x7f]],
  i64: [i64(-1n), i64(1n << 32n), i64(1n)],
  externref: [[0xd0, 0x6f]],
}

export const oddSignatures: readonly WasiCase[] = wasiCalls
  .filter((name) => signatures[name].length > 0)
  .flatMap((name) =>
    Object.entries(odd).flatMap(([type, values]) =>
      values.map((value, index): WasiCase => {
        const params = signatures[name].split('').map(() => type as ValueType)
        const body = [...params.flatMap(() => value), ...op.call(0)]
        return {
          name: `${name} of ${type}, ${index}`,
          family: 'signatures',
          because:
            'a module declares the types of an import: numbers with fractions, 64 bits, references',
          module: () =>
            wasm({
              imports: [imported(name, params)],
              memory: { min: 2 },
              functions: [{ export: 'run', body: name === 'proc_exit' ? body : [...body, 0x1a] }],
            }),
          // Never a limit, a lost wall or a failure, which are statuses of the host.
          expect: ['ok', 'error'],
        }
      }),
    ),
  )

function f64(value: number): readonly number[] {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return [0x44, ...bytes]
}

export const random: readonly WasiCase[] = [
  {
    name: '4 GiB of random bytes',
    family: 'random',
    because: 'a 32-bit length that a runtime may allocate before it checks it',
    module: () =>
      attack(['random_get'], (invoke) => [
        ...[-1, -2, 0x7fff_ffff, sizeBytes + 1].flatMap((length) =>
          counted(invoke('random_get', 0, length)),
        ),
        ...told,
      ]),
    expect: ['ok'],
    gives: 0,
  },
  {
    name: 'random bytes forever',
    family: 'random',
    because: 'a call of the host that is native, over all of the memory',
    module: () =>
      attack(
        ['random_get'],
        (invoke) => forever([...invoke('random_get', 0, 400 * pageBytes), 0x1a]),
        { pages: 400 },
      ),
    expect: ['timeout'],
  },
]
