import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refusedCall } from './refused-call.ts'

test('An entry for a refused call has the attempted access in bounded text, with trust "guest"', () => {
  const entries = [
    refusedCall('seen/exec', { path: '/bin/true' }),
    refusedCall('seen/open', { path: '/etc/passwd', access: 'read' }),
    refusedCall('seen/open', { path: '/etc/passwd', access: 'write' }),
    refusedCall('seen/syscall', { call: 'create inet', class: 'network' }),
    refusedCall('seen/syscall', { call: 7 }),
  ]
  assert.deepEqual(
    entries.map(({ reason }) => reason),
    [
      'execute "/bin/true"',
      'read "/etc/passwd"',
      'write "/etc/passwd"',
      'create inet',
      'a call',
    ].map((what) => `Its kernel refused: ${what}`),
  )
  assert.deepEqual(entries[3]?.fields, { trust: 'guest', class: 'network' })
  const long = refusedCall('seen/open', { path: `/${'x'.repeat(5000)}`, class: 'y'.repeat(5000) })
  assert.ok(JSON.stringify(long).length < 700)
})
