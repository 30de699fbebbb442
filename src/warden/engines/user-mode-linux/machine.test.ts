import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { readSeccompPolicy } from '../../../os/seccomp.ts'
import { kernelFilter, kernelJailCommand } from './jail.ts'
import { userKernelArguments, type KernelSpec } from './machine.ts'

const spec: KernelSpec = { memoryMiB: 256, lines: 1, hasImage: true }
const programs = { setpriv: '/setpriv', setarch: '/setarch', bubblewrap: '/bwrap' }
const kernel = { file: '/k', modules: [], libraries: ['/l/ld.so', '/l/libc.so.6'], fingerprint: '' }
const jail = { kernel, initrd: '/i', image: '/image', uid: 52_001, ownBytes: 1_024, filterFd: 5 }

suite('The words of a user-mode kernel', () => {
  test('Programs are traced, and never filtered by stubs that they could take over', () => {
    assert.ok(userKernelArguments(spec).includes('seccomp=off'))
  })

  test('Parts of the kernel that reach for files, sockets and programs of the host are not started', () => {
    const blacklist = userKernelArguments(spec).find((word) =>
      word.startsWith('initcall_blacklist='),
    )!
    for (const part of ['hostfs', 'mconsole', 'vector', 'virtio_uml', 'harddog'])
      assert.match(blacklist, new RegExp(part))
  })

  test('Each line is a descriptor, and process 1 gets the words behind the last option alone', () => {
    const words = userKernelArguments(spec)
    assert.ok(words.includes('ssl0=fd:3') && words.includes('ssl1=fd:4'))
    assert.deepEqual(words.slice(words.indexOf('--')), ['--', 'boot', '/dev/ttyS0', '/dev/ubda'])
    // Without them the kernel appends both behind the words of process 1.
    assert.ok(words.some((word) => word.startsWith('root=')))
    assert.ok(words.some((word) => word.startsWith('console=')))
  })

  test('The disk is read-only, and absent without an image', () => {
    assert.ok(userKernelArguments(spec).includes('ubd0r=/kernel/image'))
    const words = userKernelArguments({ ...spec, hasImage: false })
    assert.ok(!words.some((word) => word.startsWith('ubd')))
  })

  test('Values that no kernel has are refused', () => {
    for (const bad of [{ memoryMiB: 1 }, { memoryMiB: 1.5 }, { memoryMiB: NaN }, { lines: 99 }])
      assert.throws(() => userKernelArguments({ ...spec, ...bad }), { code: 'INVALID' })
  })
})

suite('The jail of a user-mode kernel', () => {
  const command = kernelJailCommand(jail, programs, ['mem=64M'])

  test('The parent-death signal is set behind the change of the uid', () => {
    assert.deepEqual(command.slice(0, 6), [
      '/setpriv',
      '--reuid=52001',
      '--regid=52001',
      '--clear-groups',
      '--pdeathsig=KILL',
      '--',
    ])
  })

  test('The guest gets files read-only and one bounded tmpfs; no /proc, no /dev', () => {
    const binds = command.flatMap((word, at) => (word === '--ro-bind' ? [command[at + 2]] : []))
    assert.deepEqual(binds, [
      '/kernel/linux',
      '/lib64/ld-linux-x86-64.so.2',
      '/lib/x86_64-linux-gnu/libc.so.6',
      '/kernel/initrd',
      '/kernel/image',
    ])
    const at = command.indexOf('--tmpfs')
    assert.deepEqual(command.slice(at - 2, at + 2), ['--size', '1024', '--tmpfs', '/own'])
    assert.ok(!command.some((word) => ['--bind', '--dev', '--proc', '--dev-bind'].includes(word)))
  })

  test('The filter compiles, and allows no socket, mount, namespace or memory of another process', () => {
    assert.ok(kernelFilter().length > 0)
    const { otherwise, allow } = readSeccompPolicy('user-mode-linux')
    const allowed = new Set(allow.map(({ call }) => call))
    assert.equal(otherwise, 'EPERM')
    for (const call of [
      'socket',
      'connect',
      'bind',
      'mount',
      'unshare',
      'setns',
      'process_vm_writev',
    ])
      assert.ok(!allowed.has(call), call)
  })
})
