import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WallLoads } from '../contract/warden.ts'
import { demandOf } from './load.ts'

const MiB = 2 ** 20

/** Walls by cores used during 100 ms. */
function after(
  cores: Readonly<Record<string, number>>,
  elapsed = 100,
): readonly [WallLoads, WallLoads] {
  const walls = Object.entries(cores)
  const at = (atMs: number, part: number) => ({
    atMs,
    walls: walls.map(([wall, used]) => ({ wall, bytes: 40 * MiB, cpuMs: 7 + used * part })),
  })
  return [at(1_000, 0), at(1_000 + elapsed, elapsed)]
}

const busyOf = (cores: Readonly<Record<string, number>>) =>
  [...demandOf(...after(cores), 2)].filter(([, { isBusy }]) => isBusy).map(([wall]) => wall)

test('A sleeping wall is not busy, and a computing one is', () => {
  assert.deepEqual(busyOf({ sleeps: 0, ticks: 0.01, computes: 0.9 }), ['computes'])
})

test('On a saturated machine a wall with a small CPU share is busy', () => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`w${n}`, 0.02]))
  assert.equal(busyOf({ ...many, sleeps: 0 }).length, 100)
  assert.equal(busyOf({ one: 0.02, sleeps: 0 }).length, 0)
})

test('Memory counts as resident bytes plus a growth margin', () => {
  const memory = demandOf(...after({ a: 0 }), 2).get('a')?.memory
  assert.equal(memory, 40 * MiB * 1.25 + 16 * MiB)
})

test('Samples too close together, and walls missing in one of them, give no estimate', () => {
  assert.equal(demandOf(...after({ a: 1 }, 10), 2).size, 0)
  const [before, now] = after({ a: 1 })
  assert.equal(demandOf({ ...before, walls: [] }, now, 2).size, 0)
})

test('A long-running wall counts as busy, also while it waits for the CPU', () => {
  const [before, now] = after({ long: 0, sleeps: 0 })
  const walls = now.walls.map((one) => ({ ...one, isLong: one.wall === 'long' }))
  const demand = demandOf(before, { ...now, walls }, 2)
  assert.equal(demand.get('long')?.isBusy, true)
  assert.equal(demand.get('sleeps')?.isBusy, false)
})
