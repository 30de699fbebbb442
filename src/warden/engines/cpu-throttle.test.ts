import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createCpuThrottle } from './cpu-throttle.ts'

suite('A bound on processor time', () => {
  for (const cores of [0.1, 0.5, 0.9, 1.5])
    for (const [everyMs, tickMs] of [
      [2, 10],
      [10, 10],
      [37, 10],
    ] as const)
      test(`${cores} of a core, sampled each ${everyMs} ms and counted in ticks of ${tickMs}`, () => {
        const share = shareOf(cores, everyMs, tickMs, 2)
        assert.ok(share <= cores * 1.05 && share >= cores * 0.95, `it had ${share}`)
      })

  test('A process that waited may burst for a moment, and no longer', () => {
    const throttle = createCpuThrottle(0.5, 0, 0)
    assert.equal(throttle.check(60_000, 0), true)
    assert.equal(throttle.check(60_000, 190), true)
    assert.equal(throttle.check(60_000, 260), false)
  })

  test('CPU time of reaped processes drops out of the sum without giving credit', () => {
    const throttle = createCpuThrottle(0.5, 0, 1000)
    assert.equal(throttle.check(100, 1100), false)
    assert.equal(throttle.check(110, 10), false)
    assert.equal(throttle.check(400, 10), true)
  })

  test("A limit above the machine's cores never stops a process", () => {
    const throttle = createCpuThrottle(4, 0, 0)
    for (let now = 0; now < 1000; now += 10) assert.equal(throttle.check(now, now * 2), true)
  })
})

/** Usage of `busy` processes that never sleep, over ten seconds. */
function shareOf(cores: number, everyMs: number, tickMs: number, busy: number): number {
  const throttle = createCpuThrottle(cores, 0, 0)
  let used = 0
  let runs = true
  const lengthMs = 10_000
  for (let now = 0; now < lengthMs; now += 1) {
    if (runs) used += busy
    if (now % everyMs === 0) runs = throttle.check(now, Math.floor(used / tickMs) * tickMs)
  }
  return used / lengthMs
}
