import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CpuCredit, CREDIT_MS } from './cpu-credit.ts'

/** Charges this share of a core in readings of 100 ms; returns whether it was ahead after each. */
function played(credit: CpuCredit, from: number, cores: readonly number[], cpu = 0): boolean[] {
  let cpuMs = cpu
  return cores.map((share, n) => {
    cpuMs += share * 100
    credit.charge({ atMs: from + (n + 1) * 100, cpuMs })
    return credit.isAhead
  })
}

test('A worker that uses less than is refilled stays ahead, however long it serves', () => {
  const credit = new CpuCredit({ atMs: 0, cpuMs: 0, isWorker: true })
  assert.ok(played(credit, 0, Array(10_000).fill(0.24)).every(Boolean))
})

test('A worker that computes is ahead for its credit, and again when half of it is refilled', () => {
  const credit = new CpuCredit({ atMs: 0, cpuMs: 0, isWorker: true })
  const burnt = played(credit, 0, [0.75, 0.75, 0.75])
  assert.deepEqual(burnt, [true, false, false])
  const rested = played(credit, 300, Array(10).fill(0), 225)
  assert.deepEqual(rested.indexOf(true), 4)
  assert.deepEqual(played(credit, 1300, [1.1], 225), [false])
})

test('A debt is paid before there is credit again, and an idle worker saves no more than the whole', () => {
  const credit = new CpuCredit({ atMs: 0, cpuMs: 0, isWorker: true })
  assert.equal(credit.charge({ atMs: 1000, cpuMs: 1000 }), true)
  assert.equal(credit.charge({ atMs: 4_700, cpuMs: 1000 }), false)
  assert.equal(credit.charge({ atMs: 4_900, cpuMs: 1000 }), true)
  credit.charge({ atMs: 3_600_000, cpuMs: 1000 })
  assert.equal(credit.charge({ atMs: 3_600_000, cpuMs: 1001 + CREDIT_MS }), true)
  assert.equal(credit.isAhead, false)
  credit.charge({ atMs: 3_600_000, cpuMs: 1e9 })
  assert.equal(credit.charge({ atMs: 3_604_300, cpuMs: 1e9 }), true, 'a debt has a bound')
})

test('A wall with one job has its credit once', () => {
  const credit = new CpuCredit({ atMs: 0, cpuMs: 40, isWorker: false })
  credit.charge({ atMs: 10_000, cpuMs: 40 + CREDIT_MS })
  assert.equal(credit.isAhead, true)
  credit.charge({ atMs: 20_000, cpuMs: 41 + CREDIT_MS })
  credit.charge({ atMs: 3_600_000, cpuMs: 41 + CREDIT_MS })
  assert.equal(credit.isAhead, false)
})
