import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { unavailable } from './worker-claim.ts'

test('A wall that a program could not make has a fix by its message, and no fix that sends it back to the doctor alone', () => {
  const fixOf = (reason: string, hint?: string) => {
    const found = unavailable(new MayflyError('UNAVAILABLE', reason, hint ? { hint } : {}))
    return found.available ? undefined : found.fix
  }
  const ended = 'Cannot start a wall: it ended (1): '
  assert.match(
    fixOf(`${ended}bwrap: Can't mount proc on /newroot/proc: Operation not permitted`)!,
    /systempaths=unconfined/,
  )
  for (const reason of [
    'unshare: unshare failed: No space left on device',
    'bwrap: No permissions to create new namespace, likely because the kernel does not allow',
    'bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces',
  ])
    assert.match(fixOf(ended + reason)!, /^Allow namespaces/)
  assert.match(fixOf(`${ended}Killed`)!, /facts of this machine/)
  assert.equal(fixOf(ended, 'Install it'), 'Install it')
})
