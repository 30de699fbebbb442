import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { assert as check, double, property } from 'fast-check'
import {
  bucketFor,
  inJail,
  limitDrive,
  machineRequests,
  vcpusFor,
  type MachineProfile,
} from './configuration.ts'

const profile: MachineProfile = {
  memoryMiB: 256,
  cores: 1,
  kernel: 'vmlinux',
  rootDisk: 'root.erofs',
  tracksDirtyPages: false,
}

const bodyOf = (path: string, changes: Partial<MachineProfile> = {}) =>
  machineRequests({ ...profile, ...changes }).find((request) => request.path === path)?.body

suite('The configuration of a machine', () => {
  test('Only the devices of a guest are made, in the order of the requests', () => {
    const paths = (changes: Partial<MachineProfile>) =>
      machineRequests({ ...profile, ...changes }).map(({ method, path }) => `${method} ${path}`)
    assert.deepEqual(paths({}), [
      'PUT /machine-config',
      'PUT /boot-source',
      'PUT /drives/root',
      'PUT /vsock',
      'PUT /entropy',
      'PUT /balloon',
    ])
    assert.ok(paths({ scratchDisk: 'scratch' }).includes('PUT /drives/scratch'))
  })

  test('The root disk is read-only, and a rate binds every disk', () => {
    const rate_limiter = { bandwidth: { size: 100_000, refill_time: 100 } }
    const changes = { ioBytes: 1_000_000, scratchDisk: 'scratch' }
    assert.deepEqual(bodyOf('/drives/root', changes), {
      drive_id: 'root',
      is_root_device: true,
      is_read_only: true,
      path_on_host: '/root.erofs',
      io_engine: 'Sync',
      rate_limiter,
    })
    assert.deepEqual(bodyOf('/drives/scratch', changes), {
      drive_id: 'scratch',
      is_root_device: false,
      is_read_only: false,
      path_on_host: '/scratch',
      io_engine: 'Sync',
      rate_limiter,
    })
  })

  test('Virtual processors are 1 or an even number of 32 at most', () => {
    const counts = [0.001, 1, 1.001, 2, 3, 31, 31.5, 32, 100].map((cores) => vcpusFor(cores))
    assert.deepEqual(counts, [1, 1, 2, 2, 4, 32, 32, 32, 32])
    for (const bad of [0, -1, NaN, Infinity])
      assert.throws(() => vcpusFor(bad), /is not a positive/)
  })

  test('Memory outside its bounds is refused', () => {
    for (const memoryMiB of [0, 63, -1, 64.5, NaN, Infinity, 1_048_577])
      assert.throws(() => machineRequests({ ...profile, memoryMiB }), /cannot have .* of memory/)
    for (const memoryMiB of [64, 1_048_576]) machineRequests({ ...profile, memoryMiB })
  })

  test('Words for the kernel cannot add others', () => {
    for (const word of ['', 'a b', 'a\tb', 'a\nb', '--', '"a', 'a;b', 'ä', '-', "a'b"])
      assert.throws(
        () => machineRequests({ ...profile, kernelParameters: [word] }),
        /is not a valid/,
        word,
      )
    assert.throws(
      () => machineRequests({ ...profile, kernelParameters: ['a'.repeat(1_500)] }),
      /above the limit/,
    )
    const { boot_args } = bodyOf('/boot-source', {
      kernelParameters: ['mayfly.port=52', 'init=/bin/agent'],
    }) as { boot_args: string }
    assert.match(boot_args, /8250\.nr_uarts=0 .* ro mayfly\.port=52 init=\/bin\/agent$/)
    assert.doesNotMatch(boot_args, /console=/)
  })

  test('Arguments of process 1 follow the parameters of the kernel on its command line, and cannot add others', () => {
    const agentArguments = ['boot', 'vsock:1', '/dev/vda', 'port=job=vsock:2']
    const { boot_args } = bodyOf('/boot-source', { agentArguments }) as { boot_args: string }
    assert.match(boot_args, / ro -- boot vsock:1 \/dev\/vda port=job=vsock:2$/)
    for (const word of ['', 'a b', 'a\nb', '--', '-a', '"a', 'a;b', 'ä'])
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
