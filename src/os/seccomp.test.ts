import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import syscalls from '../../policies/syscalls.json' with { type: 'json' }
import { askingFilter, sentinelPolicy } from '../jail/sentinel-policy.ts'
import { compileSeccomp, readSeccompPolicy, policyWith, type SeccompPolicy } from './seccomp.ts'

const KILL = 0x8000_0000
const EPERM = 0x0005_0001
const ENOSYS = 0x0005_0026
const EBADF = 0x0005_0009
const EINVAL = 0x0005_0016
const DONE = 0x0005_0000
const NOTIFY = 0x7fc0_0000
const EAFNOSUPPORT = 0x0005_0061
const ALLOW = 0x7fff_0000
const AUDIT_X64 = 0xc000_003e
const numbers = syscalls.numbers as unknown as Readonly<Record<string, readonly (number | null)[]>>
const policies = ['start', 'narrow'].map((name) => readSeccompPolicy(name))

suite('A seccomp policy becomes a filter', () => {
  for (const policy of policies) {
    const filter = compileSeccomp(policy, 'x64')
    const named = new Set([...policy.allow, ...(policy.answer ?? [])].map(({ call }) => call))

    test(`"${policy.name}": listed calls are allowed, and all others refused`, () => {
      for (const { call } of policy.allow.filter(({ where }) => !where))
        assert.equal(answer(filter, { number: numberOf(call) }), ALLOW, call)
      for (const call of Object.keys(numbers).filter((name) => !named.has(name)))
        if (numbers[call]?.[0] != null)
          assert.equal(answer(filter, { number: numberOf(call) }), EPERM, call)
      for (const number of [1000, 0x3fff_ffff])
        assert.equal(answer(filter, { number }), EPERM, String(number))
    })

    test(`"${policy.name}": another architecture and the x32 table kill the process`, () => {
      for (const number of [0, 1, 2, 59, 0x4000_0001, 0xffff_ffff]) {
        assert.equal(answer(filter, { number, audit: 0x4000_0003 }), KILL)
        if (number >= 0x4000_0000) assert.equal(answer(filter, { number }), KILL)
      }
    })

    test(`"${policy.name}": a thread may be made, a process and a namespace may not`, () => {
      const clone = (flags: number) => answer(filter, { number: numberOf('clone'), args: [flags] })
      const thread = 0x3d_0f00
      assert.equal(clone(thread), ALLOW)
      for (const flags of [0x11, 0x0120_0011, thread | 0x1000_0000, thread | 0x4000_0000])
        assert.equal(clone(flags), EPERM, flags.toString(16))
      assert.equal(answer(filter, { number: numberOf('clone3') }), ENOSYS)
    })

    test(`"${policy.name}": each rule has a reason`, () => {
      for (const { call, why } of policy.allow) assert.ok(why.length > 3, call)
    })
  }

  test('"start": files are opened read-only', () => {
    const filter = compileSeccomp(policies[0]!, 'x64')
    const open = (flags: number) =>
      answer(filter, { number: numberOf('openat'), args: [0, 0, flags] })
    for (const flags of [0, 0o2000000, 0o200000]) assert.equal(open(flags), ALLOW)
    for (const flags of [1, 2, 0o100, 0o1000, 0o20200000, 3]) assert.equal(open(flags), EPERM)
  })

  test('"narrow": a warm worker opens nothing, connects to nothing, starts nothing', () => {
    const filter = compileSeccomp(policies[1]!, 'x64')
    for (const call of [
      'open',
      'openat',
      'openat2',
      'socket',
      'connect',
      'execve',
      'execveat',
      'fork',
    ])
      assert.equal(answer(filter, { number: numberOf(call) }), EPERM, call)
  })

  const whole = readSeccompPolicy('process')
  for (const [title, policy] of [
    ['with namespaces', policyWith(whole, ['namespaces'])],
    ['without', policyWith(whole, [])],
    ['with a sentinel', policyWith(whole, ['namespaces', 'sentinel'])],
  ] as const)
    test(`"process", ${title}: each rule has a reason, both architectures have a filter`, () => {
      const all = [...(policy.refuse ?? []), ...policy.allow, ...(policy.answer ?? [])]
      for (const { call, why } of all) assert.ok(why.length > 3, call)
      for (const arch of ['x64', 'arm64'] as const)
        assert.ok(compileSeccomp(policy, arch).length > 1000)
      const filter = compileSeccomp(policy, 'x64')
      const asked = (call: string, ...args: number[]) =>
        answer(filter, { number: numberOf(call), args })
      for (const call of CLOSED_TO_PROGRAMS) assert.equal(asked(call), EPERM, call)
      for (const call of ['clone3', 'io_uring_setup']) assert.equal(asked(call), ENOSYS, call)
      for (const flags of [0x20000, 0x10000000, 0x20000011, 0x40000011, 0x10010f00])
        assert.equal(asked('clone', flags), EPERM, flags.toString(16))
      assert.equal(asked('clone', 0x3d0f00), ALLOW)
      assert.equal(answer(filter, { number: 460 }), ENOSYS, 'newer than the table')
      assert.equal(asked('personality', 0xffffffff), ALLOW)
      assert.equal(asked('personality', 0x40000), EPERM)
    })

  test('"process": sockets are local, TCP or UDP; without namespaces neither sockets nor children are allowed', () => {
    const sockets: readonly (readonly [number, number, number])[] = [
      [1, 1, 0],
      [2, 0x80001, 6],
      [10, 0x80802, 0],
    ]
    const others: readonly (readonly [number, number, number])[] = [
      [2, 3, 1],
      [2, 2, 1],
      [2, 1, 132],
      [17, 3, 0],
      [38, 5, 0],
      [40, 1, 0],
    ]
    const filters = [policyWith(whole, ['namespaces']), policyWith(whole, [])].map((policy) =>
      compileSeccomp(policy, 'x64'),
    )
    const [inside, alone] = filters.map(
      (filter) =>
        (call: string, ...args: number[]) =>
          answer(filter, { number: numberOf(call), args }),
    )
    for (const args of sockets) {
      assert.equal(inside!('socket', ...args), ALLOW, args.join())
      assert.equal(alone!('socket', ...args), EPERM, args.join())
    }
    for (const args of others) assert.equal(inside!('socket', ...args), EPERM, args.join())
    for (const protocol of [0, 9]) assert.equal(inside!('socket', 16, 3, protocol), EAFNOSUPPORT)
    for (const call of ['fork', 'vfork', 'kill', 'tgkill', 'pidfd_send_signal', 'setpriority']) {
      assert.equal(inside!(call), ALLOW, call)
      assert.equal(alone!(call), EPERM, call)
    }
    assert.deepEqual([inside!('clone', 0x11), alone!('clone', 0x11)], [ALLOW, EPERM])
    assert.deepEqual([inside!('prlimit64', 7), alone!('prlimit64', 7)], [ALLOW, EPERM])
    assert.equal(alone!('prlimit64', 0), ALLOW)
  })

  test('"process": watches and fsync are left to a sentinel, and denied without one', () => {
    const [sentinel, none] = [['namespaces', 'sentinel'] as const, ['namespaces'] as const].map(
      (has) => compileSeccomp(policyWith(whole, has), 'x64'),
    )
    for (const [call, without] of [
      ['inotify_init', ENOSYS],
      ['inotify_init1', ENOSYS],
      ['inotify_add_watch', EPERM],
      ['inotify_rm_watch', EPERM],
      ['fsync', DONE],
      ['fdatasync', DONE],
    ] as const) {
      assert.equal(answer(none!, { number: numberOf(call), args: [3] }), without, call)
      assert.equal(answer(sentinel!, { number: numberOf(call), args: [3] }), ALLOW, call)
    }
    for (const filter of [sentinel!, none!]) {
      assert.equal(answer(filter, { number: numberOf('fsync'), args: [0xffff_ffff] }), EBADF)
      assert.equal(answer(filter, { number: numberOf('memfd_create') }), ENOSYS)
      assert.equal(answer(filter, { number: numberOf('msync'), args: [0x7000] }), DONE)
      assert.equal(answer(filter, { number: numberOf('msync'), args: [0x7001] }), EINVAL)
    }
    const asking = askingFilter([])
    for (const { call } of sentinelPolicy().always)
      assert.equal(answer(asking, { number: numberOf(call), args: [3] }), NOTIFY, call)
  })

  test('"process": socket options are allowed, except those that connect on write, and filters', () => {
    const filter = compileSeccomp(whole, 'x64')
    const asked = (level: number, option: number) =>
      answer(filter, { number: numberOf('setsockopt'), args: [3, level, option] })
    assert.equal(asked(6, 30), EPERM)
    for (const option of [26, 50, 51, 52]) assert.equal(asked(1, option), EPERM)
    for (const [level, option] of [
      [6, 1],
      [6, 26],
      [1, 30],
      [1, 7],
      [0, 26],
      [41, 26],
      [17, 52],
    ] as const)
      assert.equal(asked(level, option), ALLOW, `${level} ${option}`)
  })

  test('All conditions on arguments must be true, and compare the low 32 bits', () => {
    const where = [
      { arg: 0, mask: 0xff, equals: 1 },
      { arg: 2, mask: -1, equals: 7 },
    ]
    const policy: SeccompPolicy = {
      name: 'test',
      otherwise: 'EPERM',
      allow: [
        { call: 'ioctl', why: 'one', where },
        { call: 'ioctl', why: 'another', where: [{ arg: 1, mask: -1, equals: 9 }] },
      ],
    }
    const filter = compileSeccomp(policy, 'x64')
    const ioctl = (...args: number[]) => answer(filter, { number: numberOf('ioctl'), args })
    assert.equal(ioctl(0x101, 0, 7), ALLOW)
    assert.equal(ioctl(1, 0, 8), EPERM)
    assert.equal(ioctl(2, 0, 7), EPERM)
    assert.equal(ioctl(2, 9, 0), ALLOW)
    assert.equal(answer(filter, { number: 0 }), EPERM)
  })

  test('An unknown call or architecture is an error', () => {
    const policy = {
      name: 'test',
      otherwise: 'EPERM',
      allow: [{ call: 'oepn', why: '-' }],
    } as const
    assert.throws(() => compileSeccomp(policy, 'x64'), RangeError)
    assert.throws(() => compileSeccomp({ ...policy, allow: [] }, 'mips'), RangeError)
  })
})

/** Calls that no program gets, with any arguments. */
const CLOSED_TO_PROGRAMS = [
  'io_uring_enter',
  'io_uring_register',
  'userfaultfd',
  'perf_event_open',
  'bpf',
  'ptrace',
  'process_vm_readv',
  'process_vm_writev',
  'kexec_load',
  'kexec_file_load',
  'keyctl',
  'add_key',
  'request_key',
  'mount',
  'umount2',
  'open_tree',
  'move_mount',
  'fsopen',
  'fsmount',
  'fsconfig',
  'fspick',
  'mount_setattr',
  'unshare',
  'setns',
  'pivot_root',
  'chroot',
  'open_by_handle_at',
  'name_to_handle_at',
  'quotactl',
  'swapon',
  'reboot',
  'init_module',
  'finit_module',
  'fanotify_init',
  'pidfd_getfd',
  'memfd_secret',
  'shmget',
  'mq_open',
  'seccomp',
  'sethostname',
  'settimeofday',
  'acct',
  'syslog',
  'iopl',
  'modify_ldt',
  'setgroups',
  'capset',
  'process_madvise',
]

interface Called {
  readonly number: number
  readonly args?: readonly number[]
  readonly audit?: number
}

/** Runs a filter as the kernel would: classic BPF over the data of one system call. */
function answer(filter: Buffer, { number, args = [], audit = AUDIT_X64 }: Called): number {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(number, 0)
  data.writeUInt32LE(audit, 4)
  args.forEach((arg, at) => data.writeUInt32LE(arg >>> 0, 16 + 8 * at))
  let accumulator = 0
  for (let at = 0; at < filter.length / 8; at++) {
    const [code, ifTrue, ifFalse] = [0, 2, 3].map((offset) =>
      offset === 0 ? filter.readUInt16LE(at * 8) : filter.readUInt8(at * 8 + offset),
    )
    const k = filter.readUInt32LE(at * 8 + 4)
    if (code === 0x20) accumulator = data.readUInt32LE(k)
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0
    else if (code === 0x15) at += accumulator === k ? ifTrue! : ifFalse!
    else if (code === 0x35) at += accumulator >= k ? ifTrue! : ifFalse!
    else if (code === 0x06) return k
    else throw new Error(`instruction ${code}`)
  }
  throw new Error('The filter has no end')
}

function numberOf(call: string): number {
  return numbers[call]![0]!
}
