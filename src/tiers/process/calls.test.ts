import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { callClasses } from '../../contract/calls.ts'
import { allControls, noFiles, noNetwork } from '../../contract/controls.ts'
import type { CallSeen } from '../../warden/protocol.ts'
import { callsLeft, heldByCalls, tellCalls } from './calls.ts'

suite('Calls of a program', () => {
  test('close with the controls that become nothing, and with classes that are left out', () => {
    const closed = (next: Partial<typeof allControls>) => {
      const left = callsLeft(allControls, { ...allControls, ...next })
      return left && callClasses.filter((name) => !left.includes(name))
    }
    assert.equal(closed({}), undefined)
    assert.equal(closed({ cpu: 0.5, files: { read: ['/work'], write: ['/work'] } }), undefined)
    assert.equal(closed({ network: noNetwork }), undefined)
    assert.deepEqual(closed({ files: { read: ['/'], write: [] } }), ['write'])
    assert.deepEqual(closed({ files: noFiles }), ['write', 'outside'])
    assert.deepEqual(closed({ syscalls: ['process', 'network', 'write'] }), ['exec', 'outside'])
    assert.deepEqual(closed({ syscalls: [] }), [...callClasses])
    const none = { ...allControls, network: noNetwork, files: noFiles }
    assert.equal(callsLeft(none, none), undefined)
  })

  test('hold no folders in part: those stay what they were', () => {
    const next = { ...allControls, files: { read: ['/work'], write: [] }, syscalls: ['exec'] }
    assert.deepEqual(heldByCalls(allControls, next), {
      files: { read: ['/'], write: [] },
      syscalls: ['exec'],
    })
  })

  test('are told in the words of every tier', () => {
    const said: unknown[] = []
    let hear: (seen: CallSeen) => void = () => undefined
    tellCalls({
      warden: { onCall: (_wall, then) => (hear = then) },
      wall: 'w1',
      run: 'r1',
      voice: { say: (point, fields) => void said.push([point, fields]) },
    })
    const seen = { t: 1, pid: 2, denied: false, writes: false, leftOut: 0 }
    hear({ ...seen, call: 'execve', class: 'exec', path: '/bin/true' })
    hear({ ...seen, call: 'openat', class: 'write', path: '/work/a', writes: true, denied: true })
    hear({ ...seen, call: 'socket', class: 'network' })
    assert.deepEqual(said, [
      ['seen/exec', { path: '/bin/true', denied: false }],
      ['seen/open', { path: '/work/a', access: 'write', denied: true }],
      ['seen/syscall', { class: 'network', call: 'socket', count: 1, denied: false }],
    ])
  })
})
