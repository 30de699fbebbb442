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

  test('Limits that are no counts are refused', () => {
    for (const bad of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) {
      assert.throws(() => argumentsWith({ fileBytesMax: bad }), /is not a positive/)
      assert.throws(() => argumentsWith({ descriptorsMax: bad }), /is not a positive/)
    }
  })

  test('Folders are those of its documentation', () => {
    const base = '/var/lib/mayfly/jails/firecracker/w0123456789abcdef'
    assert.equal(jailFolder(options), base)
    assert.equal(jailRoot(options), `${base}/root`)
    assert.equal(pidFile(options), `${base}/root/firecracker.pid`)
  })
})
