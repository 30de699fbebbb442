import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limitsOf, profileOf } from '../../tests/sim/simulated-life.ts'
import type { CallAnswer, TaskEnd } from '../contract/provider.ts'
import { createGate } from './gate.ts'

const ok = (resultText: string): CallAnswer => ({
  status: 'ok',
  resultText,
  encoding: 'json',
  executionTime: 1,
})
const failed: CallAnswer = {
  ...ok('null'),
  status: 'error',
  error: { code: 'USER_ERROR', message: 'no' },
}
const end: TaskEnd = {
  status: 'ok',
  resultText: 'null',
  encoding: 'json',
  cpuTime: 0,
  artifacts: [],
}

function close(answers: readonly CallAnswer[], more: Partial<TaskEnd> = {}, profile = {}) {
  const gate = createGate(profileOf(profile), undefined, 3)
  for (const answer of answers) gate.answered(answer)
  const { status, calls, error } = gate.close({ ...end, ...more })
  return { status, error, ends: calls?.map((call) => [call.status, call.result]) }
}

test('S4-57: each call of a batch has its own end, and a failure affects no other call', () => {
  assert.deepEqual(close([ok('1'), failed, ok('3')]), {
    status: 'ok',
    error: undefined,
    ends: [
      ['ok', 1],
      ['error', null],
      ['ok', 3],
    ],
  })
})

test('A call whose result breaks the schema is refused alone', () => {
  const output = { gate: 'stream', schema: { type: 'number' } } as const
  const { status, ends } = close([ok('1'), ok('"2"'), ok('3')], {}, { output })
  assert.equal(status, 'ok')
  assert.deepEqual(ends, [
    ['ok', 1],
    ['refused', null],
    ['ok', 3],
  ])
})

test('The end of the job ends the call in progress; later calls are skipped', () => {
  const { status, ends } = close([ok('1')], { status: 'timeout' })
  assert.equal(status, 'timeout')
  assert.deepEqual(ends, [
    ['ok', 1],
    ['timeout', null],
    ['skipped', null],
  ])
})

test('A job that fails before it could be called has only skipped calls', () => {
  const { status, ends } = close([], { status: 'error' })
  assert.equal(status, 'error')
  assert.deepEqual(ends?.flat(), ['skipped', null, 'skipped', null, 'skipped', null])
})

test('All results of a batch together are limited to the size of one result', () => {
  const limits = limitsOf({ result: 10 })
  const { ends } = close([ok('"12345"'), ok('"6789"'), ok('1')], {}, { limits })
  assert.deepEqual(ends, [
    ['ok', '12345'],
    ['refused', null],
    ['ok', 1],
  ])
})

test('A wall that answers too few calls has failed, and surplus answers are ignored', () => {
  const fewer = close([ok('1'), ok('2')])
  assert.deepEqual([fewer.status, fewer.error?.code], ['failed', 'WALL_LOST'])
  assert.equal(close([ok('1'), ok('2'), ok('3'), ok('4')]).ends?.length, 3)
})

test('The errors of a batch together stay short, and each keeps its code and a line', () => {
  const gate = createGate(profileOf(), undefined, 1000)
  const error = { code: 'USER_ERROR', message: 'm'.repeat(8000), stack: 's'.repeat(16_000) }
  for (let call = 0; call < 1000; call++) gate.answered({ ...failed, error })
  const { calls = [] } = gate.close(end)
  assert.ok(JSON.stringify(calls).length < 1_000_000)
  assert.equal(calls[0]?.error?.stack?.length, 16_000)
  assert.deepEqual(calls[999]?.error, { code: 'USER_ERROR', message: 'm'.repeat(200) })
})
