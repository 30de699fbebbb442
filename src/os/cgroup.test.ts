import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { controllers, openCgroups } from './cgroup.ts'

/** A folder with the files that the kernel would make; it keeps whatever is written. */
suite('Control groups, as folders and files', () => {
  test('Where no group can be made there are none', () => {
    using mount = folder()
    writeFileSync(join(mount.path, 'file'), '')
    assert.equal(openCgroups(join(mount.path, 'file')), undefined)
  })

  test('Version 1 has a folder in each controller, and both are removed', () => {
    using mount = folder()
    const root = openCgroups(mount.path)!
    const group = root.create('w1')
    assert.deepEqual([root.version, root.controllers], [1, controllers])
    group.add(42)
    group.limit({ memory: 8192, pids: 4 })
    assert.equal(mount.read('memory/mayfly/w1/cgroup.procs'), '42')
    assert.equal(mount.read('pids/mayfly/w1/cgroup.procs'), '42')
    assert.equal(mount.read('memory/mayfly/w1/memory.limit_in_bytes'), '8192')
    assert.equal(mount.read('pids/mayfly/w1/pids.max'), '4')
    mount.write(
      'memory/mayfly/w1/memory.oom_control',
      'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n',
    )
    assert.equal(group.memoryKills(), 3)
    assert.deepEqual(root.list(), ['w1'])
    assert.equal(group.remove(), false, 'a folder with something in it was said to be gone')
  })

  test('Version 2 has one folder, and counts kills, not hits', () => {
    using mount = folder()
    mount.write('cgroup.controllers', 'cpu memory pids\n')
    mkdirSync(join(mount.path, 'mayfly'))
    mount.write('mayfly/cgroup.controllers', 'cpu memory pids\n')
    const root = openCgroups(mount.path)!
    const group = root.create('w2')
    group.limit({ memory: 4096 })
    assert.deepEqual(
      [root.version, root.controllers],
      [2, ['memory', 'pids', 'cpu', 'cpuacct', 'freezer']],
    )
    assert.equal(mount.read('mayfly/cgroup.subtree_control'), '+memory +pids +cpu')
    assert.equal(mount.read('mayfly/w2/memory.max'), '4096')
    mount.write(
      'mayfly/w2/memory.events',
      'low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n',
    )
    assert.equal(group.memoryKills(), 1)
  })

  test('Version 1 bounds processor time and each disk, counts, freezes, and lets the dying go', () => {
    using mount = folder()
    const group = openCgroups(mount.path)!.create('w4')
    group.limit({ cpu: 0.5, io: { bytes: 1_000_000, devices: ['8:0'] } })
    assert.equal(mount.read('cpu/mayfly/w4/cpu.cfs_period_us'), '100000')
    assert.equal(mount.read('cpu/mayfly/w4/cpu.cfs_quota_us'), '50000')
    for (const way of ['read', 'write'])
      assert.equal(mount.read(`blkio/mayfly/w4/blkio.throttle.${way}_bps_device`), '8:0 1000000')
    mount.write('cpuacct/mayfly/w4/cpuacct.usage', '2500000\n')
    assert.equal(group.cpuMs(), 2.5)
    group.freeze()
    assert.equal(group.isFrozen(), true)
    mount.write('cpu/mayfly/w4/cpu.shares', '1024')
    group.hurry()
    assert.equal(group.isFrozen(), false)
    assert.equal(mount.read('cpu/mayfly/w4/cpu.cfs_quota_us'), '-1')
    assert.equal(mount.read('cpu/mayfly/w4/cpu.shares'), '10240')
  })

  test('Version 2 does the same in other words', () => {
    using mount = folder()
    mount.write('cgroup.controllers', 'cpu io memory pids\n')
    mkdirSync(join(mount.path, 'mayfly'))
    mount.write('mayfly/cgroup.controllers', 'cpu io memory pids\n')
    const root = openCgroups(mount.path)!
    assert.deepEqual(root.controllers, ['memory', 'pids', 'cpu', 'io', 'cpuacct', 'freezer'])
    const group = root.create('w5')
    group.limit({ cpu: 1.5, io: { bytes: 4096, devices: ['254:0'] } })
    assert.equal(mount.read('mayfly/w5/cpu.max'), '150000 100000')
    assert.equal(mount.read('mayfly/w5/io.max'), '254:0 rbps=4096 wbps=4096')
    mount.write('mayfly/w5/cpu.stat', 'usage_usec 7000\nuser_usec 5000\n')
    assert.equal(group.cpuMs(), 7)
    group.freeze()
    mount.write('mayfly/w5/cgroup.events', 'populated 1\nfrozen 1\n')
    assert.equal(group.isFrozen(), true)
    group.hurry()
    assert.equal(mount.read('mayfly/w5/cgroup.freeze'), '0')
    assert.equal(mount.read('mayfly/w5/cpu.max'), 'max 100000')
    mount.write('mayfly/w5/cgroup.procs', '7\n42\n')
    assert.deepEqual(root.processes('w5'), [7, 42])
  })

  test('A controller that is missing is missing, and the others are there', () => {
    using mount = folder()
    mount.write('cpu', '')
    const root = openCgroups(mount.path)!
    assert.deepEqual(
      root.controllers,
      controllers.filter((one) => one !== 'cpu'),
    )
    root.create('w6', ['memory']).limit({ memory: 4096 })
    const made = ['blkio', 'cpu', 'cpuacct', 'freezer', 'memory', 'pids']
    assert.deepEqual(readdirSync(mount.path).sort(), made)
    assert.deepEqual(readdirSync(join(mount.path, 'pids/mayfly')), [])
  })

  test('A bound that the kernel takes in other words is none', () => {
    using mount = folder()
    const group = openCgroups(mount.path)!.create('w7')
    symlinkSync('/dev/null', join(mount.path, 'cpu/mayfly/w7/cpu.cfs_quota_us'))
    assert.throws(() => group.limit({ cpu: 0.5 }), /is "" after writing "50000"/)
  })

  test('A group that is gone is removed', () => {
    using mount = folder()
    const root = openCgroups(mount.path)!
    root.create('w3', ['memory', 'pids'])
    assert.deepEqual([root.remove('w3'), root.remove('w3')], [true, true])
  })
})

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'mayfly-cgroup-'))
  return {
    path,
    read: (file: string) => readFileSync(join(path, file), 'utf8'),
    write: (file: string, text: string) => writeFileSync(join(path, file), text),
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  }
}
