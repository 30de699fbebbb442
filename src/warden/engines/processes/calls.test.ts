import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { callClasses } from '../../../contract/calls.ts'
import { resourceLimit } from '../../../os/libc.js'
import { identify } from '../../../os/proc.ts'
import { closeCalls, closeProcesses } from './calls.ts'
import type { ProcessWall } from './process-wall.ts'

test('Calls are reported as closed only once fork is closed, also if the event of the same change arrives first', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  await once(child, 'spawn')
  try {
    const nprocAtReport: number[] = []
    const sentinel = {
      // The report of a change comes ahead of its answer.
      flip() {
        void closeProcesses(wall, [])
        nprocAtReport.push(resourceLimit('nproc', child.pid))
        return Promise.resolve({ allowed: [], planned: 0 })
      },
    }
    const processes = [identify(child.pid!)]
    const resources = { sentinel, processes, slot: undefined, cgroup: undefined }
    const wall = {
      id: 'one',
      layers: ['user namespace'],
      calls: callClasses,
      resources,
    } as unknown as ProcessWall
    await closeCalls(wall, [{ afterMs: 0, allow: [] }])
    assert.ok(nprocAtReport[0]! > 0)
    assert.equal(resourceLimit('nproc', child.pid), 0)
  } finally {
    child.kill('SIGKILL')
  }
})

test('Calls are not reported as closed if the bound of an earlier event is not enforced', async () => {
  const sentinel = {
    flip() {
      void closeProcesses(wall, []).catch(() => undefined)
      return Promise.resolve({ allowed: [], planned: 0 })
    },
  }
  const resources = { sentinel, processes: [], slot: undefined, cgroup: undefined }
  const wall = { id: 'one', layers: [], calls: callClasses, resources } as unknown as ProcessWall
  await assert.rejects(closeCalls(wall, [{ afterMs: 0, allow: [] }]), /no mechanism counts/)
})
