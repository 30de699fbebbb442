import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { openCgroups } from './cgroup.ts'
import { controllers, killsAtLimit } from './cgroup-interface.ts'
import { isIn, isInNone, quotaUs } from './cgroup-files.ts'

/** A folder with the files that the kernel would make; it keeps whatever is written. */
suite('Control groups, as folders and files', () => {
  test('An ordinary user without delegation has no cgroups', () => {
    using mount = folder()
    writeFileSync(join(mount.path, 'file'), '')
    assert.equal(openCgroups(join(mount.path, 'file')), undefined)
  })

  test('Folders of a tmpfs that hides cgroups, or replaces a missing hierarchy, are no cgroups', (t) => {
    const { href } = new URL('./cgroup.ts', import.meta.url)
    const opened = (hide: string) => {
      const print = `console.log(JSON.stringify((await import('${href}')).openCgroups()?.controllers ?? null))`
      const run = [process.execPath, '--input-type=module', '-e', print]
      const { status, stdout } = spawnSync(
        'unshare',
        ['--mount', 'sh', '-c', `${hide} && exec "$@"`, 'sh', ...run],
        { encoding: 'utf8' },
      )
      return status === 0 ? (JSON.parse(stdout) as readonly string[] | null) : undefined
    }
    const hidden = opened('mount -t tmpfs tmpfs /sys/fs/cgroup')
    if (hidden === undefined) return t.skip('no mount namespace can be made here')
    assert.equal(hidden, null)
    if (openCgroups()?.version !== 1) return
    assert.ok(!opened('umount -l /sys/fs/cgroup/pids')?.includes('pids'))
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

  for (const version of [1, 2])
    test(`Version ${version}: old groups of walls without members are listed as forgotten`, () => {
      using mount = folder()
      if (version === 2) unify(mount, 'memory')
      const root = openCgroups(mount.path)!
      const [old, busy, fresh, other] = [
        'w0123456789abcdef',
        'wfedcba9876543210',
        'waaaaaaaaaaaaaaaa',
        'own',
      ]
      const parent = version === 1 ? 'memory/mayfly' : 'mayfly'
      for (const name of [old, busy, fresh, other]) root.create(name)
      mount.write(`${parent}/${busy}/cgroup.procs`, '42\n')
      const ago = new Date(Date.now() - 7_200_000)
      for (const name of [old, busy, other]) utimesSync(join(mount.path, parent, name), ago, ago)
      assert.deepEqual(root.forgotten(3_600_000), [old])
      const tomorrow = new Date(Date.now() + 86_400_000)
      utimesSync(join(mount.path, parent, old), tomorrow, tomorrow)
      assert.deepEqual(root.forgotten(3_600_000), [old], 'made before the clock was set back')
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

  test('Version 1 limits CPU time and each disk, counts, freezes, and lifts the quota of a dying group', () => {
    using mount = folder()
    const group = openCgroups(mount.path)!.create('w4')
    mount.write('cpu/mayfly/w4/cpu.shares', '1024')
    group.limit({ cpu: 0.5, io: { bytes: 1_000_000, devices: ['8:0'] } })
    assert.equal(mount.read('cpu/mayfly/w4/cpu.shares'), '256')
    assert.equal(mount.read('cpu/mayfly/w4/cpu.cfs_period_us'), '10000')
    assert.equal(mount.read('cpu/mayfly/w4/cpu.cfs_quota_us'), '5000')
    for (const direction of ['read', 'write'])
      assert.equal(
        mount.read(`blkio/mayfly/w4/blkio.throttle.${direction}_bps_device`),
        '8:0 1000000',
      )
    mount.write('cpuacct/mayfly/w4/cpuacct.usage', '2500000\n')
    assert.equal(group.cpuMs(), 2.5)
    group.freeze()
    assert.equal(group.isFrozen(), true)
    mount.write('cpu/mayfly/w4/cpu.shares', '1024')
    group.liftCpuQuota()
    assert.equal(group.isFrozen(), false)
    assert.equal(mount.read('cpu/mayfly/w4/cpu.cfs_quota_us'), '-1')
    assert.equal(mount.read('cpu/mayfly/w4/cpu.shares'), '10240')
  })

  test('Version 2 does the same by its own files', () => {
    using mount = folder()
    mount.write('cgroup.controllers', 'cpu io memory pids\n')
    mkdirSync(join(mount.path, 'mayfly'))
    mount.write('mayfly/cgroup.controllers', 'cpu io memory pids\n')
    const root = openCgroups(mount.path)!
    assert.deepEqual(root.controllers, ['memory', 'pids', 'cpu', 'io', 'cpuacct', 'freezer'])
    const group = root.create('w5')
    mount.write('mayfly/w5/cpu.weight', '100')
    group.limit({ cpu: 1.5, io: { bytes: 4096, devices: ['254:0'] } })
    assert.equal(mount.read('mayfly/w5/cpu.weight'), '100', 'nobody comes before one core')
    group.limit({ cpu: 0.2 })
    assert.equal(mount.read('mayfly/w5/cpu.weight'), '4')
    group.limit({ cpu: 1.5 })
    assert.equal(mount.read('mayfly/w5/cpu.weight'), '100')
    assert.equal(mount.read('mayfly/w5/cpu.max'), '150000 100000')
    assert.equal(mount.read('mayfly/w5/io.max'), '254:0 rbps=4096 wbps=4096')
    mount.write('mayfly/w5/cpu.stat', 'usage_usec 7000\nuser_usec 5000\n')
    assert.equal(group.cpuMs(), 7)
    group.freeze()
    mount.write('mayfly/w5/cgroup.events', 'populated 1\nfrozen 1\n')
    assert.equal(group.isFrozen(), true)
    group.liftCpuQuota()
    assert.equal(mount.read('mayfly/w5/cgroup.freeze'), '0')
    assert.equal(mount.read('mayfly/w5/cpu.max'), 'max 100000')
    // The kernel prints 0 for a process that is reaped during the read.
    mount.write('mayfly/w5/cgroup.procs', '7\n0\n42\n')
    assert.deepEqual(root.processes('w5'), [7, 42])
  })

  test('A missing controller is reported, and the others work', () => {
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

  for (const version of [1, 2])
    test(`Version ${version}: a limit in force is not written again, and a lifted one is`, () => {
      using mount = folder()
      if (version === 2) unify(mount, 'cpu memory pids')
      const group = openCgroups(mount.path)!.create('w13')
      const files =
        version === 2
          ? ['mayfly/w13/memory.max', 'mayfly/w13/pids.max', 'mayfly/w13/cpu.max']
          : [
              'memory/mayfly/w13/memory.limit_in_bytes',
              'pids/mayfly/w13/pids.max',
              'cpu/mayfly/w13/cpu.cfs_quota_us',
            ]
      const limits = { memory: 8192, pids: 4, cpu: 1 }
      group.limit(limits)
      const held = files.map((file) => mount.read(file))
      const ago = new Date(1_000_000_000_000)
      for (const file of files) utimesSync(join(mount.path, file), ago, ago)
      group.limit(limits)
      const writtenAt = () => files.map((file) => statSync(join(mount.path, file)).mtimeMs)
      assert.deepEqual(writtenAt(), [+ago, +ago, +ago])
      for (const file of files) mount.write(file, '999999999')
      group.limit(limits)
      assert.deepEqual(
        files.map((file) => mount.read(file)),
        held,
      )
    })

  test('A limit that the kernel stores as another value is an error', () => {
    using mount = folder()
    const group = openCgroups(mount.path)!.create('w7')
    symlinkSync('/dev/null', join(mount.path, 'cpu/mayfly/w7/cpu.cfs_quota_us'))
    assert.throws(() => group.limit({ cpu: 0.5 }), /is "" after writing "5000"/)
  })

  test('Version 1: a child group is in each controller, and is raised and removed with its parent', () => {
    using mount = folder()
    const root = openCgroups(mount.path)!
    const group = root.create('w8', ['memory', 'pids', 'cpu'])
    const inner = group.below('video').below('sound')
    inner.add(7)
    inner.limit({ memory: 4096, cpu: 0.5 })
    mount.write('cpu/mayfly/w8/video/sound/cpu.shares', '1024')
    assert.equal(inner.name, 'w8/video/sound')
    assert.equal(mount.read('pids/mayfly/w8/video/sound/cgroup.procs'), '7')
    assert.equal(mount.read('memory/mayfly/w8/video/sound/memory.limit_in_bytes'), '4096')
    assert.deepEqual([group.processes(), root.processes('w8')], [[7], [7]])
    group.liftCpuQuota()
    assert.equal(mount.read('cpu/mayfly/w8/video/sound/cpu.cfs_quota_us'), '-1')
    for (const one of ['memory', 'pids', 'cpu'])
      for (const file of readdirSync(join(mount.path, one, 'mayfly/w8/video/sound')))
        unlinkSync(join(mount.path, one, 'mayfly/w8/video/sound', file))
    assert.equal(group.remove(), false, 'other folders still have files, as no real one has')
    assert.deepEqual(readdirSync(join(mount.path, 'memory/mayfly/w8')), [])
  })

  test('Version 2: before a child group is made, members of the parent are moved into a leaf group', () => {
    using mount = folder()
    mount.write('cgroup.controllers', 'cpu memory pids\n')
    mkdirSync(join(mount.path, 'mayfly'))
    mount.write('mayfly/cgroup.controllers', 'cpu memory pids\n')
    const group = openCgroups(mount.path)!.create('w9')
    mkdirSync(join(mount.path, 'mayfly/w9/own'))
    mount.write('mayfly/w9/own/cgroup.procs', '')
    mount.write('mayfly/w9/cgroup.procs', '5\n')
    const inner = group.below('video')
    assert.equal(mount.read('mayfly/w9/own/cgroup.procs'), '5')
    assert.equal(mount.read('mayfly/w9/cgroup.subtree_control'), '+memory +pids +cpu')
    inner.add(6)
    inner.limit({ memory: 4096 })
    group.add(8)
    assert.equal(mount.read('mayfly/w9/own/cgroup.procs'), '8')
    assert.equal(mount.read('mayfly/w9/video/memory.max'), '4096')
    assert.deepEqual(group.processes(), [8, 6])
    mount.write('mayfly/w9/video/memory.events', 'oom_kill 2\n')
    mount.write('mayfly/w9/memory.events', 'oom_kill 3\n')
    mount.write('mayfly/w9/memory.events.local', 'oom_kill 0\n')
    mount.write('mayfly/w9/own/memory.events', 'oom_kill 1\n')
    assert.deepEqual([inner.memoryKills(), group.memoryKills()], [2, 1])
  })

  for (const version of [1, 2])
    test(`Version ${version}: OOM kills of a machine that is full are none at the limit of a group`, () => {
      using mount = folder()
      if (version === 2) unify(mount, 'memory')
      const group = openCgroups(mount.path)!.create('w16')
      const own = version === 1 ? 'memory/mayfly/w16' : 'mayfly/w16'
      const events = version === 1 ? 'memory.oom_control' : 'memory.events.local'
      group.limit({ memory: 2 ** 26 })
      const killed = (isFull: boolean) => {
        const peak = isFull ? 2 ** 26 - 4096 : 2 ** 25
        mount.write(`${own}/memory.max_usage_in_bytes`, `${peak}\n`)
        mount.write(`${own}/${events}`, `oom ${Number(isFull)}\noom_kill 2\n`)
        return [group.memoryKills(), killsAtLimit(group)]
      }
      assert.deepEqual(
        [killed(false), killed(true)],
        [
          [2, 0],
          [2, 2],
        ],
      )
      assert.equal(killsAtLimit(undefined), 0)
    })

  test('A process that enters by itself writes into each tree, and is a member once each lists it', () => {
    using mount = folder()
    const group = openCgroups(mount.path)!.create('w10', ['memory', 'pids'])
    assert.deepEqual(
      group.entryFiles(),
      ['memory', 'pids'].map((one) => join(mount.path, one, 'mayfly/w10/tasks')),
    )
    assert.equal(group.holds(process.pid), false)
    const lines = ['5:pids:/mayfly/w10', '4:memory:/docker/1/mayfly/w10', '3:cpu,cpuacct:/']
    assert.equal(isIn(lines, 'pids', 'w10') && isIn(lines, 'memory', 'w10'), true)
    for (const [controller, name] of [
      ['cpu', 'w10'],
      ['pids', 'w1'],
      ['pids', '10'],
      ['pid', 'w10'],
    ] as const)
      assert.equal(isIn(lines, controller, name), false, `${controller} ${name}`)
    assert.equal(isIn(['0::/mayfly/w2/own'], '', 'w2/own'), true)
  })

  test('Page cache is not counted as held memory, and scratch is', () => {
    using mount = folder()
    const group = openCgroups(mount.path)!.create('w11')
    mount.write('memory/mayfly/w11/memory.usage_in_bytes', '9000\n')
    assert.equal(group.memoryNow(), 9000)
    const all = 'cache 5000\nrss 4000\nshmem 1000\ntotal_rss 4500\ntotal_shmem 1200\n'
    mount.write('memory/mayfly/w11/memory.stat', all)
    assert.equal(group.memoryNow(), 5000)
    assert.deepEqual(group.ownMemory(), { own: 4500, shared: 1200 })
  })

  test('A small part of a core is a quota with a short period, a whole core one with a long period, and never more than requested', () => {
    const pieces = [0.01, 0.02, 0.05, 0.2, 0.5, 1, 1.5].map((cores) =>
      Object.values(quotaUs(cores)),
    )
    assert.deepEqual(pieces, [
      [1_000, 100_000],
      [2_000, 100_000],
      [2_000, 40_000],
      [2_000, 10_000],
      [5_000, 10_000],
      [100_000, 100_000],
      [150_000, 100_000],
    ])
  })

  test('Version 1: a spare has a low weight, a small CPU limit is idle, and a dying group is neither', () => {
    using mount = folder()
    const root = openCgroups(mount.path)!
    const group = root.create('w12')
    for (const file of ['shares', 'idle']) mount.write(`cpu/mayfly/w12/cpu.${file}`, '')
    const now = () => ['shares', 'idle'].map((file) => mount.read(`cpu/mayfly/w12/cpu.${file}`))
    group.weighStart('spare')
    assert.deepEqual(now(), ['256', ''])
    group.limit({ cpu: 1 })
    assert.deepEqual(now(), ['1024', '0'])
    group.limit({ cpu: 0.05 })
    assert.deepEqual(now(), ['1024', '1'], 'who is idle has no weight')
    group.limit({ cpu: 0.5 })
    assert.deepEqual(now(), ['256', '0'])
    group.limit({ cpu: 0.05 })
    const lifts = group.quotaLifts().map((lift) => lift.slice(lift.lastIndexOf('/') + 1))
    assert.deepEqual(lifts, ['cpu.cfs_quota_us:-1', 'cpu.idle:0', 'cpu.shares:10240'])
    group.liftCpuQuota()
    assert.deepEqual(now(), ['10240', '0'])
  })

  test('Version 1: a long-running wall has a fiftieth of its weight under any limit, until its rank is raised', () => {
    using mount = folder()
    const group = openCgroups(mount.path)!.create('w14')
    for (const file of ['shares', 'idle']) mount.write(`cpu/mayfly/w14/cpu.${file}`, '')
    const now = () => ['shares', 'idle'].map((file) => mount.read(`cpu/mayfly/w14/cpu.${file}`))
    group.limit({ cpu: 1 })
    group.rank('behind')
    assert.deepEqual(now(), ['20', '0'])
    group.limit({ cpu: 0.5 })
    assert.deepEqual(now(), ['5', '0'], 'a lower limit does not bring it forward')
    group.rank('job')
    assert.deepEqual(now(), ['256', '0'], 'it has the weight of its limit')
  })

  test('A wall for a waiting short job starts with a high weight, and its job has eight times the weight of its limit', () => {
    using mount = folder()
    const group = openCgroups(mount.path)!.create('w15')
    for (const file of ['shares', 'idle']) mount.write(`cpu/mayfly/w15/cpu.${file}`, '')
    const shares = () => mount.read('cpu/mayfly/w15/cpu.shares')
    group.weighStart('urgent')
    assert.equal(shares(), '16384')
    group.limit({ cpu: 1 })
    assert.equal(shares(), '1024', 'a claim ends that')
    group.rank('ahead')
    assert.equal(shares(), '8192')
    group.limit({ cpu: 0.5 })
    assert.equal(shares(), '2048')
    group.rank('job')
    assert.equal(shares(), '256')
  })

  test('All walls together have a raised weight while one is dying and none has a job, and then the former weight', () => {
    using mount = folder()
    mkdirSync(join(mount.path, 'cpu/mayfly'), { recursive: true })
    mount.write('cpu/mayfly/cpu.shares', '1024')
    const root = openCgroups(mount.path)!
    const usual = mount.read('cpu/mayfly/cpu.shares')
    const [one, other] = [root.create('w20'), root.create('w21')]
    for (const group of [one, other]) group.liftCpuQuota()
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), `${Number(usual) * 10}`)
    const busy = root.create('w24')
    busy.limit({ cpu: 1 })
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), `${Number(usual) * 10}`, 'it is a spare')
    busy.rank('job')
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), usual, 'it would gain from it')
    busy.rank('parked')
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), `${Number(usual) * 10}`)
    busy.rank('behind')
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), usual)
    busy.liftCpuQuota()
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), `${Number(usual) * 10}`)
    const empty = (name: string) => {
      for (const of of controllers)
        for (const file of readdirSync(join(mount.path, folderOf(of), 'mayfly', name)))
          unlinkSync(join(mount.path, folderOf(of), 'mayfly', name, file))
    }
    empty('w24')
    assert.ok(busy.remove())
    empty('w20')
    assert.ok(one.remove())
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), `${Number(usual) * 10}`)
    empty('w21')
    assert.ok(other.remove())
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), usual)
    other.liftCpuQuota()
    assert.equal(mount.read('cpu/mayfly/cpu.shares'), usual, 'a wall that is gone is not dying')
  })

  test('Version 2: a weight that the administrator set for all walls is restored when none is dying', () => {
    using mount = folder()
    mount.write('cgroup.controllers', 'cpu memory pids\n')
    mkdirSync(join(mount.path, 'mayfly'))
    mount.write('mayfly/cgroup.controllers', 'cpu memory pids\n')
    mount.write('mayfly/cpu.weight', '300\n')
    const group = openCgroups(mount.path)!.create('w22')
    group.liftCpuQuota()
    assert.equal(mount.read('mayfly/cpu.weight'), '1000')
    for (const file of readdirSync(join(mount.path, 'mayfly/w22')))
      unlinkSync(join(mount.path, 'mayfly/w22', file))
    assert.ok(group.remove())
    assert.equal(mount.read('mayfly/cpu.weight'), '300')
  })

  test('Version 2: the weight of all walls is raised and restored', () => {
    using mount = folder()
    mount.write('cgroup.controllers', 'cpu memory pids\n')
    mkdirSync(join(mount.path, 'mayfly'))
    mount.write('mayfly/cgroup.controllers', 'cpu memory pids\n')
    const group = openCgroups(mount.path)!.create('w13')
    for (const file of ['weight', 'idle']) mount.write(`mayfly/w13/cpu.${file}`, '')
    const now = () => ['weight', 'idle'].map((file) => mount.read(`mayfly/w13/cpu.${file}`))
    group.weighStart('spare')
    assert.deepEqual(now(), ['25', ''])
    group.limit({ cpu: 0.05 })
    assert.deepEqual(now(), ['25', '1'])
    group.liftCpuQuota()
    assert.deepEqual(now(), ['10000', '0'])
  })

  test('The warden and the server outweigh walls, unless they are in a group already', () => {
    const lines = ['2:cpu,cpuacct:/', '1:memory:/user.slice', '0::/']
    assert.equal(isInNone(lines, 'cpu'), true)
    assert.equal(isInNone(['2:cpu:/system.slice/x'], 'cpu'), false)
    assert.equal(isInNone(lines, 'pids'), false)
  })

  test('Removing a missing group succeeds', () => {
    using mount = folder()
    const root = openCgroups(mount.path)!
    root.create('w3', ['memory', 'pids'])
    assert.deepEqual([root.remove('w3'), root.remove('w3')], [true, true])
  })
})

/** Makes a folder the unified hierarchy, with these controllers for the groups of Mayfly. */
function unify(mount: ReturnType<typeof folder>, controllers: string): void {
  mount.write('cgroup.controllers', `${controllers}\n`)
  mkdirSync(join(mount.path, 'mayfly'))
  mount.write('mayfly/cgroup.controllers', `${controllers}\n`)
}

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'mayfly-cgroup-'))
  return {
    path,
    read: (file: string) => readFileSync(join(path, file), 'utf8'),
    write: (file: string, text: string) => writeFileSync(join(path, file), text),
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  }
}

function folderOf(controller: string): string {
  return controller === 'io' ? 'blkio' : controller
}
