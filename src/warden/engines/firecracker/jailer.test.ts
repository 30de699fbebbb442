import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { wallUids } from '../../../contract/uids.ts'
import { jailerArguments, jailFolder, jailRoot, pidFile, type JailerOptions } from './jailer.ts'

const options: JailerOptions = {
  id: 'w0123456789abcdef',
  execFile: '/usr/bin/firecracker',
  uid: wallUids.first,
  gid: wallUids.first,
  chrootBase: '/var/lib/mayfly/jails',
  cgroup: { kind: 'inherited' },
  fileBytesMax: 2 ** 30,
  descriptorsMax: 256,
}

const argumentsWith = (changes: Partial<JailerOptions>) =>
  jailerArguments({ ...options, ...changes })

suite('Arguments of the jailer', () => {
  test('A whole command line', () => {
    assert.equal(
      argumentsWith({}).join(' '),
      `--id ${options.id} --exec-file /usr/bin/firecracker --uid 52001 --gid 52001 ` +
        '--chroot-base-dir /var/lib/mayfly/jails --cgroup-version 2 --parent-cgroup none-w0123456789abcdef ' +
        '--resource-limit fsize=1073741824 --resource-limit no-file=256 --new-pid-ns -- --api-sock /api.sock',
    )
  })

  test('Ids other than 1 to 64 letters, digits and hyphens are refused, also as folders', () => {
    for (const id of ['', 'a'.repeat(65), '..', 'a/b', 'a b', 'a_b', 'a\n', 'a.b', 'ä', '--id=x\0'])
      for (const made of [() => argumentsWith({ id }), () => jailFolder({ ...options, id })])
        assert.throws(made, /letters, digits and hyphens/, id)
    for (const id of ['a', '-', 'A-9', 'a'.repeat(64)]) argumentsWith({ id })
  })

  test('Uids that belong to no wall are refused, root first', () => {
    const { first, last } = wallUids
    for (const uid of [0, -1, 1.5, NaN, first - 1, last + 1, 2 ** 32]) {
      assert.throws(() => argumentsWith({ uid }), /belong to no wall/)
      assert.throws(() => argumentsWith({ gid: uid }), /belong to no wall/)
    }
    argumentsWith({ uid: last, gid: last })
  })

  test('Paths that are relative or not normal are refused', () => {
    for (const file of ['firecracker', '/a/../b', '/a//b', '/a/', './a', '/a\0', '']) {
      assert.throws(() => argumentsWith({ execFile: file }), /absolute and normal/)
      assert.throws(() => argumentsWith({ chrootBase: file }), /absolute and normal/)
    }
  })

  test('Limits are written for both versions of cgroups, and none is ever lifted by a rounded value', () => {
    const limits = { memoryBytes: 300, tasks: 20, cpu: 1.5 }
    const groupOf = (version: 1 | 2, cpu?: number) =>
      argumentsWith({
        cgroup: {
          kind: 'own',
          version,
          parent: 'mayfly/walls',
          limits: { memoryBytes: 300, tasks: 20, ...(cpu === undefined ? {} : { cpu }) },
        },
      })
    const files = (words: readonly string[]) =>
      words.filter((_, at) => words[at - 1] === '--cgroup')
    assert.deepEqual(files(groupOf(2, limits.cpu)), [
      'memory.max=300',
      'memory.swap.max=0',
      'pids.max=20',
      'cpu.max=150000 100000',
    ])
    assert.deepEqual(files(groupOf(1, limits.cpu)), [
      'memory.limit_in_bytes=300',
      'pids.max=20',
      'cpu.cfs_period_us=100000',
      'cpu.cfs_quota_us=150000',
    ])
    assert.deepEqual(files(groupOf(2)), ['memory.max=300', 'memory.swap.max=0', 'pids.max=20'])
    assert.match(files(groupOf(2, 0.000001)).join(' '), /cpu\.max=1000 /)
    for (const cpu of [0, -1, NaN, Infinity])
      assert.throws(() => groupOf(2, cpu), /is not a positive/)
  })

  test('Limits that are no counts, and groups outside their hierarchy, are refused', () => {
    for (const bad of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) {
      assert.throws(() => argumentsWith({ fileBytesMax: bad }), /is not a positive/)
      assert.throws(() => argumentsWith({ descriptorsMax: bad }), /is not a positive/)
      for (const limits of [
        { memoryBytes: bad, tasks: 1 },
        { memoryBytes: 1, tasks: bad },
      ])
        for (const version of [1, 2] as const)
          assert.throws(
            () => argumentsWith({ cgroup: { kind: 'own', version, parent: 'a', limits } }),
            /is not a positive/,
          )
    }
    const limits = { memoryBytes: 1, tasks: 1 }
    for (const parent of ['', '/a', '../a', 'a/..', 'a//b', 'a/', '.', 'a b'])
      assert.throws(
        () => argumentsWith({ cgroup: { kind: 'own', version: 2, parent, limits } }),
        /not below the root/,
        parent,
      )
  })

  test('Folders are those of its documentation', () => {
    const base = '/var/lib/mayfly/jails/firecracker/w0123456789abcdef'
    assert.equal(jailFolder(options), base)
    assert.equal(jailRoot(options), `${base}/root`)
    assert.equal(pidFile(options), `${base}/root/firecracker.pid`)
  })
})
