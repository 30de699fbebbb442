import { op, wasm } from '../../../fixtures/wasm.ts'
import { attack, counted, differs, forever, put, told, type Invoke } from '../calls.ts'
import type { WasiCase } from '../case.ts'

const bombEnds = ['ok', 'error', 'limit', 'timeout'] as const
/** Grows by a number of pages until it is refused. */
const grows = (pages: number, memory = 0) =>
  op.loop([...op.i32(pages), 0x40, memory, ...op.i32(0), 0x4e, ...op.branchIf(0)])
/** Writes a byte to all of a memory. */
const fills = (memory = 0) => [
  ...op.i32(0),
  ...op.i32(1),
  0x3f,
  memory,
  ...op.i32(16),
  0x74,
  0xfc,
  11,
  memory,
]

export const memory: readonly WasiCase[] = [
  bomb('grow and fill', 'all pages that there may be, touched', [...grows(1), ...fills(), ...told]),
  bomb(
    'grow by too much',
    'the sum of the pages wraps',
    forever([...op.i32(-1), ...op.grow, 0x1a, ...op.i32(65_535), ...op.grow, 0x1a]),
  ),
  bomb(
    'a table for ever',
    'tables are in the heap of V8, not in a memory',
    forever([...op.nullFunction, ...op.i32(1_000_000), ...op.tableGrow, 0x1a]),
  ),
  {
    name: 'memories side by side',
    family: 'memory',
    because: 'each is within the limit, and their sum is not, unless they have it together',
    module: () => manyMemories(24),
    expect: ['ok', 'error', 'limit', 'timeout'],
  },
  {
    name: 'arrays of the collector',
    family: 'memory',
    because: 'arrays of WasmGC are in no memory of the module',
    module: () => arrays(),
    expect: ['error', 'limit', 'timeout'],
  },
]

function bomb(name: string, because: string, body: readonly number[]): WasiCase {
  const module = () => attack([], () => body, { table: { min: 1 }, pages: 1 })
  return { name, family: 'memory', because, module, expect: bombEnds }
}

/** Section by section: the assembler of the fixtures has one memory, and no types of the collector. */
function manyMemories(count: number): Buffer {
  const each = Array.from({ length: count }, (_none, index) => index)
  return raw([
    [1, [1, 0x60, 0, 0]],
    [3, [1, 0]],
    [5, [count, ...each.flatMap(() => [0, 1])]],
    [7, [1, 3, ...Buffer.from('run'), 0, 0]],
    [
      10,
      [1, ...sized([0, ...each.flatMap((index) => [...grows(1, index), ...fills(index)]), 0x0b])],
    ],
  ])
}

/** A list of arrays of a million numbers of 64 bits, each held by the next. */
function arrays(): Buffer {
  const makes = [...op.i32(1_000_000), 0xfb, 7, 0]
  const body = [
    1,
    1,
    0x6e,
    ...op.loop([...makes, ...op.get(0), 0xfb, 0, 1, ...op.set(0), ...op.branch(0)]),
    0x0b,
  ]
  return raw([
    [1, [3, 0x5e, 0x7e, 1, 0x5f, 2, 0x64, 0, 0, 0x6e, 0, 0x60, 0, 0]],
    [3, [1, 2]],
    [7, [1, 3, ...Buffer.from('run'), 0, 0]],
    [10, [1, ...sized(body)]],
  ])
}

function raw(sections: readonly (readonly [number, readonly number[]])[]): Buffer {
  const header = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
  return Buffer.from([...header, ...sections.flatMap(([id, bytes]) => [id, ...sized(bytes)])])
}

function sized(bytes: readonly number[]): readonly number[] {
  const length = []
  for (let rest = bytes.length; ; rest >>>= 7) {
    if (rest < 0x80) return [...length, rest, ...bytes]
    length.push((rest & 0x7f) | 0x80)
  }
}

/** A subscription at 0 to clock `id` in `low` and `high` words of nanoseconds. */
const clock = (at: number, id: number, [low, high]: readonly [number, number], flags = 0) => [
  ...put(at + 8, 0),
  ...put(at + 16, id),
  ...put(at + 24, low),
  ...put(at + 28, high),
  ...put(at + 40, flags),
]

export const waits: readonly WasiCase[] = [
  waiting('a sleep of 584 years', 'the most nanoseconds that there are', (invoke) => [
    ...clock(0, 1, [-1, -1]),
    ...invoke('poll_oneoff', 0, 4096, 1, 64),
    0x1a,
  ]),
  waiting('a sleep until the end of time', 'the same as a moment, not a span', (invoke) => [
    ...clock(0, 0, [-1, 0x7fff_ffff], 1),
    ...invoke('poll_oneoff', 0, 4096, 1, 64),
    0x1a,
  ]),
  waiting('sixty-four sleeps', 'as many as one call may ask for', (invoke) => [
    ...Array.from({ length: 64 }, (_none, index) => clock(index * 48, 1, [-1, 0x7fff])).flat(),
    ...invoke('poll_oneoff', 0, 4096, 64, 8192),
    0x1a,
  ]),
  waiting('polls that are due at once', 'a loop that never leaves the host for long', (invoke) => [
    ...clock(0, 1, [0, 0]),
    ...forever([...invoke('poll_oneoff', 0, 4096, 1, 64), 0x1a]),
    0x1a,
  ]),
  waiting('giving way for ever', 'a loop of calls that do nothing', (invoke) => [
    ...forever([...invoke('sched_yield'), 0x1a]),
    0x1a,
  ]),
  {
    name: 'endless subscriptions',
    family: 'waits',
    because: 'counts of none, too many, and some whose size wraps',
    module: () =>
      attack(['poll_oneoff'], (invoke) => [
        ...[0, 65, 0x0555_5556, 0x1555_5556, 0x8000_0000, -1].flatMap((count) =>
          counted(invoke('poll_oneoff', 0, 4096, count, 64)),
        ),
        ...told,
      ]),
    expect: ['ok'],
    gives: 0,
  },
  {
    name: 'events over their subscriptions',
    family: 'waits',
    because: 'the events overwrite the subscriptions, and the count is in them as well',
    module: () =>
      attack(['poll_oneoff'], (invoke) => [
        ...Array.from({ length: 64 }, (_none, index) => [...put(index * 48 + 8, index % 3)]).flat(),
        ...put(64 * 48, 0x5eed),
        ...counted(invoke('poll_oneoff', 0, 0, 64, 16)),
        // A count of 64 at most after the events replaced it, and no byte behind the subscriptions.
        ...isAbove(16, 64),
        ...counted(invoke('poll_oneoff', 0, 24, 64, 0)),
        ...isAbove(0, 64),
        ...differs(64 * 48, 0x5eed),
        // Two calls that succeed are no attack.
        ...op.get(0),
        ...op.i32(2),
        ...op.i32Sub,
      ]),
    expect: ['ok', 'timeout'],
    gives: 0,
  },
]

/** Counts a word of memory that is above `most`, without a sign. */
const isAbove = (at: number, most: number) => [
  ...op.i32(at),
  ...op.load(),
  ...op.i32(most),
  0x4b,
  ...op.get(0),
  ...op.i32Add,
  ...op.set(0),
]

function waiting(
  name: string,
  because: string,
  body: (invoke: Invoke) => readonly number[],
): WasiCase {
  const module = () =>
    attack(['poll_oneoff', 'sched_yield'], (invoke) => [...body(invoke), ...told])
  return { name, family: 'waits', because, module, expect: ['timeout'] }
}

/** Takes an address off the stack: whether the 64 bits there are no multiple of a million. */
const remainderIsNotZero = [0x29, 3, 0, 0x42, 0xc0, 0x84, 0x3d, 0x82, 0x50, 0x45]

export const clocks: readonly WasiCase[] = [0, 1, 2, 3].map((id) => ({
  name: `fine steps of clock ${id}`,
  family: 'clocks',
  because: 'clock steps below a millisecond reveal the load of others on this CPU',
  module: () =>
    attack(['clock_time_get', 'clock_res_get'], (invoke) => [
      // A thousand readings: any time that is not a whole millisecond counts.
      ...op.loop([
        ...invoke('clock_time_get', id, 1n, 64),
        0x1a,
        ...op.i32(64),
        ...remainderIsNotZero,
        ...op.get(0),
        ...op.i32Add,
        ...op.set(0),
        ...op.get(1),
        ...op.i32(1),
        ...op.i32Add,
        0x22,
        1,
        ...op.i32(1000),
        0x48,
        ...op.branchIf(0),
      ]),
      ...[4, 5, -1, 0x7fff_ffff].flatMap((none) => [
        ...counted(invoke('clock_time_get', none, 0n, 64)),
        ...counted(invoke('clock_res_get', none, 64)),
      ]),
      ...told,
    ]),
  expect: ['ok'],
  gives: 0,
}))

const exitCodes = [1, 2, 127, 128, 255, 256, 65_536, 0x7fff_ffff, -0x8000_0000, -1]
/** Runs instructions, and continues after any exception. */
const caught = (body: readonly number[]) => [0x02, 0x40, 0x1f, 0x40, 1, 2, 0, ...body, 0x0b, 0x0b]

export const exits: readonly WasiCase[] = [
  ...exitCodes.map((code): WasiCase => ({
    name: `exit ${code}`,
    family: 'exits',
    because: 'codes beyond a byte, that a runtime takes for its own ends or for success',
    module: () => attack(['proc_exit'], (invoke) => [...invoke('proc_exit', code), ...told]),
    expect: ['error'],
  })),
  {
    name: 'exit 0 of a function',
    family: 'exits',
    because: 'a function that ends well, and has returned nothing',
    module: () => attack(['proc_exit'], (invoke) => [...invoke('proc_exit', 0), ...told]),
    expect: ['ok'],
    gives: null,
  },
  {
    name: 'an exit that is caught',
    family: 'exits',
    because: 'the exception of an exit is one that a module can catch, and then goes on',
    module: () =>
      attack(['proc_exit', 'fd_write'], (invoke) => [
        ...put(0, 1024),
        ...put(4, 8),
        ...caught(invoke('proc_exit', 3)),
        ...forever(caught([...invoke('fd_write', 1, 0, 1, 32), 0x1a])),
      ]),
    expect: ['error', 'timeout'],
  },
  {
    name: 'an exit in the start function',
    family: 'exits',
    because: 'there is no instance yet',
    module: () =>
      attack(['proc_exit'], () => told, {
        functions: [{ body: [...op.i32(9), ...op.call(0)] }],
        start: 2,
      }),
    expect: ['error'],
  },
]

export const stack: readonly WasiCase[] = [
  deep('recursion', 'a function that calls itself', (self) => op.call(self)),
  deep('recursion that is caught', 'what ends it is caught, at each depth', (self) =>
    caught(op.call(self)),
  ),
  deep('recursion through a table', 'an indirect call', () => [
    ...op.i32(0),
    ...op.callIndirect(0),
  ]),
  {
    name: 'a call of the host at the end of the stack',
    family: 'stack',
    because: 'the host runs out of stack within its own call, time after time',
    module: () =>
      attack(
        ['fd_write'],
        (invoke) => [
          ...put(0, 1024),
          ...put(4, 8),
          ...forever(caught(op.call(2))),
          ...invoke('fd_write', 1, 0, 1, 32),
          ...op.i32Add,
        ],
        {
          text: 'word....',
          functions: [
            {
              body: [
                ...op.i32(1),
                ...op.i32(0),
                ...op.i32(1),
                ...op.i32(32),
                ...op.call(0),
                0x1a,
                ...op.call(2),
              ],
            },
          ],
        },
      ),
    expect: ['error', 'limit', 'timeout'],
  },
]

function deep(name: string, because: string, body: (self: number) => readonly number[]): WasiCase {
  const module = () =>
    wasm({
      table: { min: 1 },
      elements: [0],
      functions: [{ body: body(0) }, { export: 'run', body: op.call(0) }],
    })
  return { name, family: 'stack', because, module, expect: ['ok', 'error', 'timeout'] }
}

export const floods: readonly WasiCase[] = ([1, 2, 3] as const).flatMap((fd) =>
  [1, 100_000].map((bytes): WasiCase => ({
    name: `a flood of ${bytes} at a time to ${fd}`,
    family: 'floods',
    because: 'output without end, byte by byte or as much as one call takes',
    module: () =>
      attack(['fd_write'], (invoke) => [
        ...put(0, 1024),
        ...put(4, bytes),
        ...forever([...invoke('fd_write', fd, 0, 1, 32), 0x1a]),
      ]),
    // Too large a result is an error of the module, as in a program.
    expect: fd === 3 ? ['timeout', 'limit', 'error'] : ['timeout', 'limit'],
  })),
)
