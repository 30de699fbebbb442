import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ProcessWall } from './process-wall.ts'
import { usageOf } from './usage.ts'

/** A wall of a group with this CPU time, and how often its processes were read. */
function wall(cpuMs: () => number | undefined) {
  const found = { reads: 0 }
  const cgroup = {
    cpuMs,
    processes() {
      found.reads++
      return []
    },
  }
  const resources = { cgroup, isWhole: true, processes: [], idleProcesses: 0 }
  return { wall: { resources, idleBytes: 0 } as unknown as ProcessWall, found }
}

test('Usage is cached while no task runs, and read again after one ran', () => {
  let cpuMs = 20
  const { wall: asleep, found } = wall(() => cpuMs)
  const first = usageOf(asleep)
  const second = usageOf(asleep)
  assert.equal(found.reads, 1)
  assert.equal(second.cpuMs, 20)
  assert.ok(second.atMs >= first.atMs)
  cpuMs = 21
  assert.equal(usageOf(asleep).cpuMs, 21)
  assert.equal(found.reads, 2)
})

test('Usage of a wall without a CPU counter is read each time', () => {
  const { wall: uncounted, found } = wall(() => undefined)
  usageOf(uncounted)
  const { reads } = found
  usageOf(uncounted)
  assert.equal(found.reads, 2 * reads)
})
