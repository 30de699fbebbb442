import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { diskOf } from '../../src/os/block.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { until } from '../conformance/stand.ts'

/** The machine's own control groups, whichever version they are: what the kernel takes is what was asked. */
const root = openCgroups()

suite(
  'Control groups of this machine',
  { skip: root ? false : 'no control groups for this user' },
  () => {
    test('A cgroup enforces every limit on a process, counts its use, and is removed after it', async () => {
      const groups = root!
      const group = groups.create(`w0${process.pid.toString(16)}`)
      const child = spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' })
      const ended = once(child, 'exit')
      try {
        group.add(child.pid!)
        group.limit({ memory: 2 ** 25, pids: 7, cpu: 0.2 })
        const disk = diskOf('/usr')
        if (disk && group.controllers.includes('io'))
          group.limit({ io: { bytes: 2 ** 20, devices: [disk] } })
        assert.deepEqual(group.processes(), [child.pid])
        assert.deepEqual(groups.processes(group.name), [child.pid])
        if (group.controllers.includes('cpuacct'))
          await until(() => (group.cpuMs() ?? 0) >= 20, 'its time to be counted')
        if (group.controllers.includes('freezer')) {
          group.freeze()
          await until(() => group.isFrozen(), 'it to stand still')
          group.thaw()
          await until(() => !group.isFrozen(), 'it to go on')
        }
        assert.equal(group.memoryKills(), 0)
        assert.equal(group.remove(), false, 'a cgroup with a process in it was reported as removed')
      } finally {
        child.kill('SIGKILL')
        group.liftCpuQuota()
        await ended
        await until(() => group.remove(), 'the group to be gone')
      }
      assert.ok(!groups.list().includes(group.name))
      assert.deepEqual(groups.processes(group.name), [])
    })

    test('A nested cgroup has its own limits and its own count of kills, and both are removed at once', async () => {
      const groups = root!
      const group = groups.create(`w1${process.pid.toString(16)}`)
      group.limit({ memory: 2 ** 28 })
      const fill = 'a=x; while :; do a=$a$a; done'
      const [beside, child] = ['exec sleep 60', `read go; ${fill}`].map((code) =>
        spawn('/bin/sh', ['-c', code], { stdio: ['pipe', 'ignore', 'ignore'] }),
      )
      const ended = once(child!, 'exit')
      try {
        group.add(beside!.pid!)
        const inner = group.below('video')
        inner.add(child!.pid!)
        inner.limit({ memory: 2 ** 24, pids: 8, cpu: 0.5 })
        assert.deepEqual(inner.processes(), [child!.pid])
        const sorted = (pids: readonly (number | undefined)[]) => pids.toSorted((a, b) => a! - b!)
        assert.deepEqual(sorted(group.processes()), sorted([beside!.pid, child!.pid]))
        child!.stdin.end('\n')
        assert.deepEqual(await ended, [null, 'SIGKILL'])
        await until(() => inner.memoryKills() === 1, 'the kill to be counted')
        assert.equal(group.memoryKills(), 0)
        assert.ok(!group.hasBeenFull(), 'the limit of the outer group ended it')
        assert.deepEqual(group.processes(), [beside!.pid])
      } finally {
        for (const one of [beside!, child!]) one.kill('SIGKILL')
        await until(() => groups.remove(group.name), 'both groups to be gone')
      }
      assert.ok(!groups.list().includes(group.name))
      assert.deepEqual(groups.processes(group.name), [])
    })
  },
)
