import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { JobMemory } from './job-memory.ts'
import type { RunscWall } from './wall.ts'

const bound = 100
const disk = 50

suite('Memory of a job in a sentry', () => {
  test('Scratch is charged to the disk, not to memory', async () => {
    const job = jobOf(() => Promise.resolve(40))
    job.holds = 130
    assert.equal(job.memory.look(bound), bound, 'it waits for the count of the sentry')
    await answered()
    assert.equal(job.memory.look(bound), 90)
  })

  test('Memory over its bound is reported once the sentry has counted', async () => {
    const job = jobOf(() => Promise.resolve(10))
    job.holds = 130
    job.memory.look(bound)
    await answered()
    assert.equal(job.memory.look(bound), 120)
  })

  test('More than both bounds together exceeds the limit, whatever the sentry reports', async () => {
    const job = jobOf(() => Promise.resolve(10_000))
    job.holds = 140
    job.memory.look(bound)
    await answered()
    job.holds = bound + disk + 1
    assert.equal(job.memory.look(bound), bound + 1, 'no more than the grant counts as scratch')
  })

  test('A job whose sentry does not answer is ended', async () => {
    const job = jobOf(() => Promise.reject(new Error('late')))
    job.holds = 130
    job.memory.look(bound)
    await answered()
    assert.equal(job.memory.look(bound), 130)
  })
})

/** A job whose cgroup counts so many bytes. */
function jobOf(scratchBytes: () => Promise<number>) {
  const job = { holds: 0, memory: undefined as unknown as JobMemory }
  const cgroup = { ownMemory: () => ({ own: job.holds, shared: 0 }) }
  const wall = { resources: { cgroup, control: { scratchBytes } }, disk } as unknown as RunscWall
  job.memory = new JobMemory(wall)
  return job
}

function answered(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}
