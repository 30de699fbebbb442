import assert from 'node:assert/strict'
import { openCgroups } from '../../src/os/cgroup.ts'
import { until } from '../conformance/stand.ts'
import { isSampled, suite, test } from '../fixtures/drawn.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { openWalls } from '../hostile/process/walls.ts'
import { isQemuThere, noQemu } from './qemu-here.ts'

/** Jobs on clones, one after the other, and their leftovers on this machine. */
const jobs = process.env['MAYFLY_LONG'] ? 500 : isSampled ? 3 : 20
const found = isQemuThere() ? await machineState() : { missing: noQemu }
const skip = 'missing' in found ? found.missing : false
const imageState = 'state' in found ? found.state : ''
const none = { processes: 0, leases: [], folders: [], cgroups: [], sockets: 0 }

suite('Jobs on clones in a row', { skip, timeout: 3_600_000 }, () => {
  test('S0-3: every job on a clone has its own result, and nothing is left of any clone', async (t) => {
    const walls = await openWalls({ imageState })
    const hasGroups = openCgroups() !== undefined
    const hasAll = () => {
      const { processes, leases, folders, cgroups, sockets } = walls.held()
      const has = [processes, leases.length, folders.length, sockets].every((count) => count > 0)
      return has && (cgroups.length > 0 || !hasGroups)
    }
    try {
      for (let n = 0; n < jobs; n++) {
        const running = walls.run({
          code: 'import time\nresult = [input["n"], input["n"] ** 2, time.time()]',
          language: 'python',
          input: { n },
          provider: 'qemu',
          limits: { timeout: 120_000, memory: '64MB' },
        })
        if (n === 0) await until(hasAll, 'a machine with all of it', 240_000)
        const outcome = await running
        const [first, second, guestTime] = (outcome.result ?? []) as readonly number[]
        t.diagnostic(`${n}: the guest had ${guestTime}, this host has ${Date.now() / 1000}`)
        assert.deepEqual([first, second], [n, n ** 2], JSON.stringify(outcome.error))
      }
      assert.deepEqual(await walls.close(), none)
      assert.ok(walls.count >= jobs)
    } finally {
      await walls[Symbol.asyncDispose]()
    }
  })
})
