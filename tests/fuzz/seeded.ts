import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { sampledRuns } from '../fixtures/drawn.ts'

/** Seeded random numbers (mulberry32), so that a run can be repeated. */
export class Seeded {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** An integer from 0 to `end`, exclusive. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * end)
  }

  pick<T>(list: readonly T[]): T {
    assert.ok(list.length > 0, 'Nothing to pick from')
    return list[this.below(list.length)] as T
  }
}

export interface Fuzz {
  /** Number of cases, of which CI tries a part, and with MAYFLY_LONG set. */
  readonly cases: number
  readonly long: number
  /** Creates and tries one case; throws on forbidden behaviour of the parser. */
  readonly attempt: (random: Seeded) => void
}

const isLong = process.env['MAYFLY_LONG'] !== undefined
/** Processor time far above any parser's; a machine may stand still for as long. */
const caseMsMax = 5000

/**
 * Tries many cases, each with its own seed, named on failure: MAYFLY_SEED tries it first. Fails if a case
 * throws, hangs, or leaves a prototype changed.
 */
export function fuzz(t: TestContext, { cases, long, attempt }: Fuzz): void {
  const first = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31) >>> 0
  const count = isLong ? long : sampledRuns(cases, t.filePath ?? '')
  t.diagnostic(`MAYFLY_SEED=${first}, ${count} cases`)
  const before = prototypes()
  for (let seed = first; seed < first + count; seed++) {
    const start = process.cpuUsage()
    try {
      attempt(new Seeded(seed))
      const { user, system } = process.cpuUsage(start)
      assert.ok((user + system) / 1000 < caseMsMax, 'the case took too long')
    } catch (cause) {
      throw new Error(`A case failed; try it again with MAYFLY_SEED=${seed}`, { cause })
    }
  }
  const now = prototypes()
  const isSame = now.length === before.length && now.every((one, at) => Object.is(one, before[at]))
  assert.ok(isSame, 'a case changed a prototype')
}

/** The prototype of each, its keys, and their values, getters, setters and flags. */
function prototypes(): readonly unknown[] {
  const all = [Object, Array, Function, String, Number, Map, Set, Promise, Uint8Array, Error]
  return all.flatMap(({ prototype }) => [
    Object.getPrototypeOf(prototype),
    ...Reflect.ownKeys(prototype).flatMap((key) => [
      key,
      ...Object.values(Object.getOwnPropertyDescriptor(prototype, key)!),
    ]),
  ])
}

/**
 * A valid sample with one to four mutations: bits, bytes, numbers, segments removed, duplicated, moved or
 * inserted.
 */
export function mutated(
  random: Seeded,
  samples: readonly Buffer[],
  pieces: readonly string[] = [],
): Buffer {
  let bytes = Buffer.from(random.pick(samples))
  for (let change = random.pick([1, 1, 1, 2, 4]); change > 0; change--) {
    const from = random.below(bytes.length + 1)
    const to = Math.min(bytes.length, from + random.below(20))
    const [head, middle, tail] = [
      bytes.subarray(0, from),
      bytes.subarray(from, to),
      bytes.subarray(to),
    ]
    bytes = Buffer.concat(random.pick(changes)(random, { head, middle, tail, samples, pieces }))
  }
  return bytes
}

interface Cut {
  readonly head: Buffer
  readonly middle: Buffer
  readonly tail: Buffer
  readonly samples: readonly Buffer[]
  readonly pieces: readonly string[]
}

const extremes = [0, 1, 0x7f, 0x80, 0xff].map((byte) => Buffer.alloc(4, byte))

const changes: readonly ((random: Seeded, cut: Cut) => Buffer[])[] = [
  (random, { head, middle, tail }) => [head, noise(random, middle.length), tail],
  (random, { head, middle, tail }) => [head, noise(random, random.below(9)), middle, tail],
  (_, { head, tail }) => [head, tail],
  (_, { head, middle, tail }) => [head, middle, middle, tail],
  (_, { head, middle, tail }) => [middle, head, tail],
  (random, { head, tail }) => [head, random.pick(extremes), tail.subarray(random.below(5))],
  (random, { head, samples }) => {
    const other = random.pick(samples)
    return [head, other.subarray(random.below(other.length + 1))]
  },
  (_, { head }) => [head],
  (random, { head, middle, tail }) => [head, flipped(random, middle), tail],
  (random, { head, middle, tail, pieces }) => [
    head,
    pieces.length > 0 ? Buffer.from(random.pick(pieces)) : noise(random, 1),
    middle,
    tail,
  ],
]

function noise(random: Seeded, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)))
}

function flipped(random: Seeded, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  if (copy.length > 0) copy[0] = copy[0]! ^ (1 << random.below(8))
  return copy
}
