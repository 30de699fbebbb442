import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sessionEnded } from './exec.ts'

test('The error of a call on an ended session names a cause that is the work of its host, and no words of a guest', () => {
  const forged = { code: 'ValueError', message: 'forged' }
  for (const [end, message] of [
    [undefined, 'it has ended'],
    [{ status: 'ok' }, 'it has ended'],
    [{ status: 'error', error: forged }, 'it has ended'],
    [{ status: 'failed', error: forged }, 'it has ended'],
    [{ status: 'timeout', error: forged }, 'its time was over'],
    [{ status: 'limit', error: { code: 'DISK', message: 'forged' } }, 'DISK ended it'],
    [
      { status: 'terminated', error: { code: 'TERMINATED', message: 'operator: enough' } },
      'it was terminated: operator: enough',
    ],
  ] as const) {
    const { code, message: said, hint } = sessionEnded(end)
    assert.deepEqual([code, said], ['SESSION_ENDED', `Cannot use the session: ${message}`])
    assert.match(hint ?? '', /open another one/)
  }
})
