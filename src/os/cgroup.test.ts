import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { openCgroups } from './cgroup.ts'

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
    assert.deepEqual([root.version, root.controllers], [1, ['memory', 'pids']])
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
    assert.deepEqual([root.version, root.controllers], [2, ['memory', 'pids']])
    assert.equal(mount.read('mayfly/cgroup.subtree_control'), '+memory +pids')
    assert.equal(mount.read('mayfly/w2/memory.max'), '4096')
    mount.write(
      'mayfly/w2/memory.events',
      'low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n',
    )
    assert.equal(group.memoryKills(), 1)
  })

  test('A group that is gone is removed', () => {
    using mount = folder()
    const root = openCgroups(mount.path)!
    root.create('w3')
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
