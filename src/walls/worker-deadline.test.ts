import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { deadlineFor, WorkerDeadline } from './worker-deadline.ts'

/** A deadline at a clock that the test sets, with the one that a warden has for it. */
function stand() {
  const at = { now: 5_000 }
  const sent: string[] = []
  const warden = { endsAt: Infinity, ranMs: 0 }
  const deadline = new WorkerDeadline(
    {
      arm(deadlineMs, ranMs) {
        sent.push('arm')
        Object.assign(warden, { endsAt: at.now + deadlineMs, ranMs })
      },
      disarm() {
        sent.push('rest')
        warden.endsAt = Infinity
      },
    },
    () => at.now,
  )
  return { deadline, at, sent, warden }
}

suite('The deadline of a worker', () => {
  test('is shared by consecutive jobs, and renewed when less than their life and half a second is left', () => {
    const { deadline, at, sent } = stand()
    assert.ok(deadline.begin(1_000))
    for (let n = 0; n < 100; n++) {
      at.now += 5
      assert.ok(deadline.begin(1_000))
      assert.equal(deadline.isOwn, false)
    }
    assert.deepEqual(sent, ['arm'])
    at.now += 1
    assert.ok(deadline.begin(1_000))
    assert.ok(deadline.isOwn)
    assert.deepEqual(sent, ['arm', 'arm'])
  })

  test('is not inherited from a longer job', () => {
    const { deadline, at, sent, warden } = stand()
    deadline.begin(60_000)
    at.now += 5
    assert.ok(deadline.begin(100))
    assert.deepEqual(sent, ['arm', 'arm'])
    assert.ok(warden.endsAt <= at.now + deadlineFor(100))
  })

  test('is not renewed once it may have passed, as after a stalled server: the worker is claimed again', () => {
    for (const stoodMs of [1_900, 2_100, 3_600_000]) {
      const { deadline, at, sent } = stand()
      deadline.begin(1_000)
      at.now += stoodMs
      assert.equal(deadline.begin(1_000), false)
      assert.deepEqual(sent, ['arm'])
      deadline.claimed(1_000, at.now)
      assert.ok(deadline.isOwn && deadline.begin(1_000))
    }
  })

  test('is the running job’s own from its first sample on, whose request carries the run time', () => {
    const { deadline, at, sent, warden } = stand()
    deadline.begin(1_000)
    at.now += 100
    deadline.begin(1_000)
    const beganAt = at.now
    at.now += 25
    deadline.own()
    deadline.own()
    assert.deepEqual(sent, ['arm', 'arm'])
    assert.deepEqual([warden.endsAt, warden.ranMs], [beganAt + deadlineFor(1_000), 25])
  })

  test('is disarmed once when the worker stays idle; the next job arms a new one', () => {
    const { deadline, sent } = stand()
    deadline.disarm()
    deadline.begin(1_000)
    assert.ok(deadline.isArmed)
    deadline.disarm()
    deadline.disarm()
    assert.ok(deadline.begin(1_000) && deadline.isOwn)
    assert.deepEqual(sent, ['arm', 'rest', 'arm'])
  })

  test('is never later than that of a job alone, and never before the end of its life, in any sequence of jobs', () => {
    const job = fc.record({
      idleMs: fc.oneof(fc.double({ min: 0, max: 300, noNaN: true }), fc.nat(5_000)),
      lifeMs: fc.oneof(fc.constant(1_000), fc.double({ min: 1, max: 5_000, noNaN: true })),
      ranMs: fc.oneof(fc.double({ min: 0, max: 25, noNaN: true }), fc.nat(6_000)),
      isRested: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(job, { maxLength: 40 }), (jobs) => {
        const { deadline, at, warden } = stand()
        for (const { idleMs, lifeMs, ranMs, isRested } of jobs) {
          at.now += idleMs
          if (isRested) deadline.disarm()
          if (!deadline.begin(lifeMs)) {
            deadline.claimed(lifeMs, at.now)
            warden.endsAt = at.now + deadlineFor(lifeMs)
          }
          const beganAt = at.now
          const holds = () => {
            assert.ok(warden.endsAt >= beganAt + lifeMs, 'the warden ends it first')
            // A millisecond for each figure that is rounded up.
            assert.ok(warden.endsAt <= beganAt + deadlineFor(lifeMs) + 2, 'it may live longer')
          }
          holds()
          at.now += Math.min(ranMs, lifeMs)
          if (ranMs >= 25) deadline.own()
          holds()
        }
      }),
    )
  })
})
