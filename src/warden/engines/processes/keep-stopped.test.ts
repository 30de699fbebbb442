import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import type { Cgroup } from '../../../os/cgroup-interface.ts'
import { processFacts } from '../../../os/proc.ts'
import { allowCopy, beginStop, keepStopped, stopAll, whyRan } from './keep-stopped.ts'
import type { WallResources } from './resources.ts'

/** A wall of which only its group's processor time is asked for. */
function wall() {
  const spent = { ms: 100 }
  const cgroup = { cpuMs: () => spent.ms } as Cgroup
  return { resources: { cgroup } as WallResources, spent }
}

async function stoppedOne() {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' })
  await once(child, 'spawn')
  child.kill('SIGSTOP')
  while (processFacts(child.pid!)?.state !== 'T')
    await new Promise((resolve) => void setTimeout(resolve, 1))
  return {
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

suite('A wall that was stopped by signals', () => {
  test('counts as stopped as long as no process of it runs', async () => {
    await using one = await stoppedOne()
    const { resources } = wall()
    beginStop(resources, [one.pid])
    for (let looks = 0; looks < 20; looks++)
      assert.equal(keepStopped(resources, [one.pid], 0), true)
    assert.equal(whyRan(resources), undefined)
  })

  test('ran if its cgroup used CPU time, even if no sample saw a running process', () => {
    const { resources, spent } = wall()
    beginStop(resources, [])
    spent.ms += 50
    assert.equal(keepStopped(resources, [], 0), true)
    spent.ms += 1
    assert.equal(keepStopped(resources, [], 0), false)
    assert.match(whyRan(resources) ?? '', /ran/)
  })

  test('ran if each sample finds a new process, even if each has ended by then', async () => {
    const { resources } = wall()
    beginStop(resources, [])
    const gone: number[] = []
    for (let n = 0; n < 3; n++) {
      const child = spawn('/bin/true')
      await once(child, 'exit')
      gone.push(child.pid!)
    }
    assert.ok(stopAll(gone))
    assert.deepEqual(
      gone.map((pid) => keepStopped(resources, [pid], 0)),
      [true, true, false],
    )
  })

  test('is ended after the copy if it ran during the copy', () => {
    const { resources, spent } = wall()
    beginStop(resources, [])
    allowCopy(resources)
    spent.ms += 1_000
    assert.equal(keepStopped(resources, [], performance.now()), true)
    assert.equal(keepStopped(resources, [], performance.now() + 60_000), false)
  })
})
