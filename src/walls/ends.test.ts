import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endOfProgram } from './ends.ts'

test('A program of a session that exits by itself ends as an error EXIT, also with exit code 0; that of a job does not', () => {
  const exit = { exitCode: 0, signal: null, cpuMs: 1 }
  const ended = { how: 'exit', peakBytes: 0, detail: '', exit } as const
  const session = endOfProgram(ended, true)
  assert.deepEqual([session?.status, session?.error?.code, session?.exitCode], ['error', 'EXIT', 0])
  assert.equal(endOfProgram(ended)?.status, 'ok')
})
