import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { assert as check, double, property } from 'fast-check'
import {
  bucketFor,
  inJail,
  limitDrive,
  machineRequests,
  type MachineProfile,
} from './configuration.ts'

const profile: MachineProfile = {
  memoryMiB: 256,
  kernel: 'vmlinux',
  initrd: 'initrd',
  rootDisk: 'root.erofs',
  agentArguments: [],
}

const bodyOf = (path: string, changes: Partial<MachineProfile> = {}) =>
  machineRequests({ ...profile, ...changes }).find((request) => request.path === path)?.body

suite('The configuration of a machine', () => {
  test('Only the devices of a guest are made, in the order of the requests', () => {
    const paths = machineRequests(profile).map(({ method, path }) => `${method} ${path}`)
    assert.deepEqual(paths, [
      'PUT /machine-config',
      'PUT /boot-source',
      'PUT /drives/root',
      'PUT /vsock',
      'PUT /entropy',
      'PUT /balloon',
    ])
  })

  test('The root disk is read-only', () => {
    assert.deepEqual(bodyOf('/drives/root'), {
      drive_id: 'root',
      is_root_device: true,
      is_read_only: true,
      path_on_host: '/root.erofs',
      io_engine: 'Sync',
    })
  })

  test('Memory outside its bounds is refused', () => {
    for (const memoryMiB of [0, 63, -1, 64.5, NaN, Infinity, 1_048_577])
      assert.throws(() => machineRequests({ ...profile, memoryMiB }), /cannot have .* of memory/)
    for (const memoryMiB of [64, 1_048_576]) machineRequests({ ...profile, memoryMiB })
  })

  test('Arguments of process 1 follow the parameters of the kernel on its command line, and cannot add others', () => {
    const agentArguments = ['boot', 'vsock:1', '/dev/vda', 'port=job=vsock:2']
    const { boot_args } = bodyOf('/boot-source', { agentArguments }) as { boot_args: string }
    assert.match(boot_args, /8250\.nr_uarts=0 .* ro -- boot vsock:1 \/dev\/vda port=job=vsock:2$/)
    assert.doesNotMatch(boot_args, /console=/)
    assert.throws(
      () => machineRequests({ ...profile, agentArguments: ['a'.repeat(1_500)] }),
      /above the limit/,
    )
    for (const word of ['', 'a b', 'a\tb', 'a\nb', '--', '-a', '-', '"a', 'a;b', 'ä', "a'b"])
      assert.throws(
        () => machineRequests({ ...profile, agentArguments: [word] }),
        /is not a valid/,
        word,
      )
  })

  test('Names of files cannot leave the root of the jail', () => {
    for (const name of ['', '.', '..', '../a', 'a/b', '/a', '.a', 'a\0', 'a'.repeat(101)])
      assert.throws(() => inJail(name), /not a valid file name/, name)
  })

  test('A bucket lets no more through than its rate, and none has a size of 0, which would lift the limit', () => {
    check(
      property(double({ min: 1, max: 2 ** 50, noNaN: true }), (rate) => {
        const { size, refill_time } = bucketFor(rate)
        assert.ok(Number.isSafeInteger(size) && size >= 1 && refill_time >= 1)
        // A part in a thousand million: the rounding of a double.
        assert.ok((size * 1_000) / refill_time <= rate * (1 + 1e-9))
      }),
    )
    for (const bad of [0, 0.99, -1, NaN, Infinity])
      assert.throws(() => bucketFor(bad), /is not a positive/)
  })

  test('A lower rate of a running disk is a PATCH with its id twice', () => {
    assert.deepEqual(limitDrive('scratch', bucketFor(1_000)), {
      method: 'PATCH',
      path: '/drives/scratch',
      body: {
        drive_id: 'scratch',
        rate_limiter: { bandwidth: { size: 1_000, refill_time: 1_000 } },
      },
    })
  })
})
