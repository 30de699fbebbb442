import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPressure, type MemoryUse } from './pressure.ts'

const MiB = 2 ** 20
type HeldWall = MemoryUse & { readonly wall: string }
const memory = 1_000 * MiB

function held(wall: string, tenant: string, bytes: number): HeldWall {
  return { wall, tenant, bytes: bytes * MiB, idleBytes: 10 * MiB }
}

const walls = [
  held('a1', 'a', 120),
  held('a2', 'a', 130),
  held('b1', 'b', 200),
  held('b2', 'b', 20),
]

const names = (ended: readonly HeldWall[]) => ended.map(({ wall }) => wall)

test('No wall ends while memory is free, or if walls use little of the used memory', () => {
  const roomy = createPressure({ memory, isBound: false, availableBytes: () => 500 * MiB })
  assert.deepEqual(roomy(walls, 0), [])
  const others = createPressure({ memory, isBound: false, availableBytes: () => 0 })
  assert.deepEqual(others([held('a1', 'a', 50)], 0), [])
})

test('Under memory pressure, the largest wall of the tenant with most memory ends', () => {
  const short = createPressure({ memory, isBound: false, availableBytes: () => 79 * MiB })
  // 81 MiB up to twice the reserve: its 120 are enough.
  assert.deepEqual(names(short(walls, 0)), ['a2'])
})

test('A single sample ends as many walls as free twice the reserve, alternating between tenants, and no more', () => {
  const short = createPressure({ memory, isBound: false, availableBytes: () => 10 * MiB })
  // 150 MiB: 120 of `a`, which then holds less than `b`.
  assert.deepEqual(names(short(walls, 0)), ['a2', 'b1'])
})

test('A hundred walls that allocate at once: one sample ends enough of them, and spares the rest', () => {
  const many = Array.from({ length: 100 }, (_, at) => held(`w${at}`, `t${at % 10}`, 20))
  const short = createPressure({ memory, isBound: false, availableBytes: () => 0 })
  const ended = short(many, 0)
  assert.equal(ended.length, 16)
  assert.equal(new Set(ended.map(({ tenant }) => tenant)).size, 10)
})

test('Walls at their idle size are not ended in number', () => {
  const idle = Array.from({ length: 100 }, (_, at) => held(`w${at}`, 'a', 10))
  const short = createPressure({ memory, isBound: false, availableBytes: () => 0 })
  assert.equal(short(idle, 0).length, 1)
  assert.equal(short(idle, 10).length, 0)
})

test('Walls whose growth was sampled late are ended at the next sample', () => {
  const short = createPressure({ memory, isBound: false, availableBytes: () => 10 * MiB })
  const idle = Array.from({ length: 100 }, (_, at) => held(`w${at}`, 'a', 10))
  assert.equal(short(idle, 0).length, 1)
  const grown = idle.slice(1).map(({ wall }) => held(wall, 'a', 60))
  assert.equal(short(grown, 10).length, 3)
})

test('Pages of killed walls count as free until they had time to be freed', () => {
  const short = createPressure({ memory, isBound: false, availableBytes: () => 10 * MiB })
  assert.equal(short(walls, 0).length, 2)
  assert.deepEqual(short(walls, 100), [])
  assert.equal(short(walls, 200).length, 2)
})

test('In a container, the memory of all walls counts against its limit', () => {
  const bound = createPressure({ memory: 500 * MiB, isBound: true })
  // 470 MiB held, of 425: down to 385.
  assert.deepEqual(names(bound(walls, 0)), ['a2'])
  assert.deepEqual(createPressure({ memory: 600 * MiB, isBound: true })(walls, 0), [])
})
