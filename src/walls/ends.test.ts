import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endOfProgram, limitsUsed } from './ends.ts'

test('A program of a session that exits by itself ends as an error EXIT, also with exit code 0; that of a job does not', () => {
  const exit = { exitCode: 0, signal: null, cpuMs: 1 }
  const ended = { how: 'exit', peakBytes: 0, detail: '', exit } as const
  const session = endOfProgram(ended, true)
  assert.deepEqual([session?.status, session?.error?.code, session?.exitCode], ['error', 'EXIT', 0])
  assert.equal(endOfProgram(ended)?.status, 'ok')
})

test('A refused fork is the limit on processes if most of them were in use, as the guest reports', () => {
  const refused = { message: '[Errno 11] Resource temporarily unavailable' }
  const hit = { nearTasks: true, limit: 'processes', limitTrust: 'guest' }
  assert.deepEqual(limitsUsed({ nearTasks: true }, refused), hit)
  assert.deepEqual(limitsUsed({ nearTasks: true }, { message: 'spawn sh EAGAIN' }), hit)
  assert.deepEqual(limitsUsed({}, refused), {})
  assert.deepEqual(limitsUsed({ nearTasks: true }, { message: 'no' }), { nearTasks: true })
  assert.deepEqual(limitsUsed({ limit: 'disk' }, refused), { limit: 'disk' })
  const broken = { code: 'SYNTAX_ERROR', message: 'invalid syntax' }
  assert.equal(limitsUsed({ limit: 'disk' }, broken).limit, undefined)
})
