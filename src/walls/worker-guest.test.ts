import assert from 'node:assert/strict'
import { test } from 'node:test'
import { playWorker } from '../../tests/fixtures/played-worker.ts'
import { execEndSchema } from './wire.ts'

test('Codes of a worker are enumerated: text of its own, or a code of the host, comes to OTHER', async () => {
  const text = 'what the guest wants to have in the record '.repeat(80)
  for (const [code, told] of [
    [text.slice(0, 3000), 'OTHER'],
    ['WALL_LOST', 'OTHER'],
    ['CANCELLED', 'OTHER'],
    ['MEMORY\u202e', 'OTHER'],
    ['constructor', 'OTHER'],
    ['USER_ERROR', 'USER_ERROR'],
    ['WASM_TRAP', 'WASM_TRAP'],
  ]) {
    for (const status of ['error', 'failed', 'limit'] as const) {
      const worker = await playWorker()
      const end = await worker.ends({ status, error: { code, message: 'said' } })
      assert.deepEqual([end.status, end.error?.code], [status, told])
      assert.ok(end.isReported, 'nothing outside saw it')
    }
  }
})

test('A worker that sends no text as its code ends as an error PROTOCOL', async () => {
  for (const code of [7, null, { toString: 'MEMORY' }, 'x'.repeat(70_000)]) {
    const worker = await playWorker()
    const end = await worker.ends({ status: 'limit', error: { code, message: 'said' } })
    assert.deepEqual([end.status, end.error?.code], ['error', 'PROTOCOL'])
    assert.ok(worker.isKilled())
  }
})

test('Codes of execs are enumerated as those of jobs; codes of the host are refused', () => {
  const codeOf = (code: string) =>
    execEndSchema.safeParse({
      protocol: 1,
      id: 'e',
      status: 'error',
      encoding: 'json',
      cpuTimeMs: 0,
      executionMs: 0,
      state: 'kept',
      error: { code, message: 'said' },
    }).data?.error?.code
  assert.equal(codeOf('x'.repeat(3000)), 'OTHER')
  assert.equal(codeOf('SYNTAX_ERROR'), 'SYNTAX_ERROR')
  assert.equal(codeOf('IMPORT_REFUSED'), 'IMPORT_REFUSED')
  assert.equal(codeOf('MEMORY'), undefined)
  assert.equal(codeOf('WALL_LOST'), undefined)
})
