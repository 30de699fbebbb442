import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { callClasses, classesToClose } from '../contract/calls.ts'
import { allControls, noFiles, noNetwork, type Controls } from '../contract/controls.ts'
import type { Reaction } from '../contract/phase.ts'
import type { SystemCallReport } from '../contract/warden.ts'
import { callsFor, closableBy, heldByCalls, reportCalls } from './sentinel-calls.ts'

suite('Calls of a program', () => {
  test('close with controls that become empty, and with classes that are left out', () => {
    const closed = (next: Partial<typeof allControls>) =>
      classesToClose(allControls, { ...allControls, ...next })
    assert.deepEqual(closed({}), [])
    assert.deepEqual(closed({ cpu: 0.5 }), [])
    assert.deepEqual(closed({ files: { read: ['/work'], write: ['/'] } }), ['outside'])
    assert.deepEqual(closed({ network: noNetwork }), [])
    assert.deepEqual(closed({ files: { read: ['/'], write: [] } }), ['write'])
    assert.deepEqual(closed({ files: noFiles }), ['write', 'outside'])
    assert.deepEqual(closed({ syscalls: ['process', 'network', 'write'] }), ['exec', 'outside'])
    assert.deepEqual(closed({ syscalls: [] }), [...callClasses])
    const none = { ...allControls, network: noNetwork, files: noFiles }
    assert.deepEqual(classesToClose(none, none), [])
  })

  test('a sentinel cannot enforce a subset of folders: any narrowing closes all file access', () => {
    const next = { ...allControls, files: { read: ['/work'], write: [] }, syscalls: ['exec'] }
    assert.deepEqual(heldByCalls(allControls, next, callClasses), {
      files: { read: [], write: [] },
      syscalls: ['exec'],
    })
  })

  test('stay open in a wall whose sentinel does not answer them', () => {
    const next = { ...allControls, files: noFiles, syscalls: ['network'] }
    assert.deepEqual(heldByCalls(allControls, next, ['exec', 'process']), {
      files: { read: ['/'], write: ['/'] },
      syscalls: ['network', 'outside', 'write'],
    })
    const before = { ...allControls, syscalls: ['network', 'exec'] }
    assert.deepEqual(heldByCalls(before, next, ['exec']).syscalls, ['network'])
    assert.deepEqual(closableBy(callClasses), ['files', 'syscalls'])
    assert.deepEqual(closableBy(['exec', 'process']), [])
  })

  test('are notified only if a life closes them, or watches opens', () => {
    const asked = (phases: readonly Partial<Controls>[], medium: Reaction = 'record') => {
      const controls = { ...allControls, files: noFiles }
      const onAnomaly = { low: 'record', medium, high: 'terminate' } as const
      const all = phases.map((given, at) => ({
        name: `${at}`,
        for: 1,
        controls: { ...controls, ...given },
      }))
      const schedule = { name: 'one', phases: all, onAnomaly, shorten: 1 }
      return callsFor({ controls, schedule })
    }
    assert.deepEqual(asked([{}, { network: noNetwork, cpu: 0.1, processes: 1 }]), ['exec'])
    assert.deepEqual(asked([{}, { syscalls: ['exec', 'network', 'outside'] }]), [
      'exec',
      'process',
      'write',
    ])
    assert.deepEqual(asked([{}, { syscalls: [] }]), [
      'exec',
      'process',
      'network',
      'write',
      'outside',
    ])
    assert.deepEqual(asked([{}], 'advance'), ['exec', 'outside'])
  })

  test('are reported with the event points of every tier', () => {
    const said: unknown[] = []
    let hear: (seen: SystemCallReport) => void = () => undefined
    const calls = reportCalls({
      warden: { onCall: (_wall, then) => (hear = then) },
      wall: 'w1',
      run: 'r1',
      emitter: { emit: (point, fields) => void said.push([point, fields]) },
    })
    const by = { pid: 2, t: 1 }
    const seen = { ...by, monotonic: 7, denied: false, writes: false, leftOut: 0 }
    calls.released(7)
    hear({ ...seen, call: 'execve', class: 'exec', path: '/bin/true' })
    hear({
      ...seen,
      call: 'openat',
      class: 'write',
      path: '/work/a',
      writes: true,
      denied: true,
      leftOut: 3,
    })
    hear({ ...seen, call: 'socket', class: 'network' })
    assert.deepEqual(said, [
      ['seen/exec', { path: '/bin/true', denied: false, ...by }],
      ['seen/open', { path: '/work/a', access: 'write', denied: true, ...by, leftOut: 3 }],
      ['seen/syscall', { class: 'network', call: 'socket', count: 1, denied: false, ...by }],
    ])
  })

  test('mark a program as written if it changed in the tick before the release, unless it came with the job', () => {
    const said: unknown[] = []
    let hear: (seen: SystemCallReport) => void = () => undefined
    const calls = reportCalls({
      warden: { onCall: (_wall, then) => (hear = then) },
      wall: 'w1',
      run: 'r1',
      emitter: {
        emit: (_point, fields) => void said.push([fields?.['path'], fields?.['written']]),
      },
      brought: ['/work/brought'],
    })
    const by = { t: 1, pid: 2, call: 'execve', class: 'exec', monotonic: 101 } as const
    const seen = { ...by, denied: false, writes: false, leftOut: 0 }
    calls.released(100)
    for (const [path, wrote] of [
      ['/work/at once', 91],
      ['/work/brought', 91],
      ['/work/brought', 101],
      ['/work/older', 80],
    ] as const)
      hear({ ...seen, path, wrote })
    assert.deepEqual(said, [
      ['/work/at once', true],
      ['/work/brought', undefined],
      ['/work/brought', true],
      ['/work/older', undefined],
    ])
  })

  test('are emitted from the release on, in either order of arrival; an exec is emitted at any time', () => {
    const said: unknown[] = []
    let hear: (seen: SystemCallReport) => void = () => undefined
    const calls = reportCalls({
      warden: { onCall: (_wall, then) => (hear = then) },
      wall: 'w1',
      run: 'r1',
      emitter: { emit: (_point, fields) => void said.push(fields?.['path']) },
    })
    const by = { t: 1, pid: 2, call: 'openat', class: 'outside' } as const
    const seen = { ...by, denied: false, writes: false, leftOut: 0 }
    const open = (path: string, monotonic: number) => hear({ ...seen, path, monotonic })
    open('/work/laid-out', 10)
    hear({ ...seen, call: 'execve', class: 'exec', path: '/work/before-its-time', monotonic: 10 })
    open('/root/.ssh/id_rsa', 12)
    assert.deepEqual(said, [])
    calls.released(11)
    open('/work/laid-out-and-told-late', 10.5)
    open('/etc/shadow', 13)
    assert.deepEqual(said, ['/work/before-its-time', '/root/.ssh/id_rsa', '/etc/shadow'])
  })
})
