import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WallResources } from './resources.ts'
import { watchTree } from './memory-watch.ts'

const bounds = {
  idleBytes: 0,
  residentMax: Infinity,
  cores: undefined,
  kills: 0,
  zones: undefined,
}

/** A wall in a group, and how often it was looked at; each look is held up for as long. */
function wall(heldUpMs = 0) {
  const found = { looks: 0, own: (): number => 0, cpuMs: (): number | undefined => undefined }
  const cgroup = {
    memoryKills: () => 0,
    cpuMs: () => found.cpuMs(),
    ownMemory() {
      found.looks++
      if (heldUpMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, heldUpMs)
      return { own: found.own(), shared: 0 }
    },
  }
  const resources = {
    isWhole: true,
    isFrozen: false,
    idleMemory: 0,
    cgroup,
  } as unknown as WallResources
  return { resources, found }
}

/** Memory that changes with every check, so that none of them finds the wall asleep. */
function restless(): () => number {
  let bytes = 0
  return () => (bytes += 2 ** 20)
}

test('A sleeping wall is sampled less and less often, and at once when it grows again', () => {
  const { resources, found } = wall()
  const watch = watchTree(resources, bounds, () => 0)
  for (let now = 0; now < 1000; now += 10) watch(now)
  assert.ok(found.looks < 20, `${found.looks} looks`)
  found.own = restless()
  const before = found.looks
  for (let now = 1000; now < 2000; now += 10) watch(now)
  assert.ok(found.looks - before > 90, `${found.looks - before} looks`)
})

test('Only the CPU time of a wall in which no task ran is sampled, except at each eighth sample', () => {
  const { resources, found } = wall()
  let asked = 0
  let spent = 20
  found.cpuMs = () => (asked++, spent)
  const watch = watchTree(resources, bounds, () => 0)
  // Each check more than the longest interval after the one before, whatever other watches were given.
  const from = performance.now() + 10_000
  for (let check = 0; check < 20; check++) watch(from + check * 2000)
  const [before, askedBefore] = [found.looks, asked]
  for (let check = 20; check < 36; check++) watch(from + check * 2000)
  assert.equal(asked - askedBefore, 16)
  assert.equal(found.looks - before, 2)
  spent = 21
  found.own = () => 2 ** 30
  assert.equal(watch(from + 36 * 2000).bytes, 2 ** 30)
})

test('A hundred sleeping walls take a fortieth of a core, and each is sampled', () => {
  let worked = 0
  const walls = Array.from({ length: 100 }, () => wall())
  const watches = walls.map(({ resources }) => watchTree(resources, bounds, () => (worked += 0.05)))
  const check = (from: number, to: number) => {
    for (let now = from; now < to; now += 10) for (const watch of watches) watch(now)
  }
  const started = performance.now()
  check(started, started + 2000)
  const before = worked
  const seen = walls.map(({ found }) => found.looks)
  check(started + 2000, started + 4000)
  // Each look calls the clock twice, and takes half of what it adds.
  assert.ok((worked - before) / 2 < 2000 / 30, `${(worked - before) / 2} ms in 2 s`)
  assert.ok(walls.every(({ found }, at) => found.looks > seen[at]!))
})

test('Costly samples are taken less often, so that all of them take a tenth of a core', () => {
  for (const [costMs, looks] of [
    [0, 100],
    [1, 10],
    [5, 2],
  ] as const) {
    const { resources, found } = wall()
    found.own = restless()
    let worked = 0
    const watch = watchTree(resources, bounds, () => (worked += costMs))
    for (let now = 0; now < 100; now++) watch(now)
    assert.equal(found.looks, looks, `${costMs} ms each`)
  }
})

test('A sample that waited for the CPU is repeated at once: only its own CPU time counts', () => {
  const { resources, found } = wall(300)
  found.own = restless()
  const watch = watchTree(resources, bounds)
  // By the clock each took 300 ms, ten times which is longer than this step. By its CPU time it would have to take 290 ms:
  // far more than it does where the host takes the processor away, which the kernel counts as CPU time.
  for (let now = 0; now < 3 * 2900; now += 2900) watch(now)
  assert.equal(found.looks, 3)
})
