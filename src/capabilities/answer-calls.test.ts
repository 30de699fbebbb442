import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { callable } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import { answerCalls, type RunCapability } from './answer-calls.ts'
import { Catalogue } from './catalogue.ts'
import { safeOutcome } from './outcome.ts'

const facts = { name: 'x', date: 0, executionTime: 0 }
const ended = (value: unknown): Outcome => safeOutcome(facts, { value })
const nowhere: RunCapability = () => Promise.reject(new Error('no road is taken'))

test('A job may call only capabilities of the catalogue, and functions registered by its caller', async () => {
  const names = new Catalogue().list().map(({ name }) => name)
  assert.deepEqual(names.toSorted(), [...callable].sort())
  using own = answerCalls(nowhere, async (argsText) => argsText)
  assert.equal(await own.call('host.call', '[1]'), '[1]')
  using none = answerCalls(nowhere)
  await assert.rejects(none.call('host.call', '[1]'), { code: 'FORBIDDEN' })
})

test('A safe capability is answered at once, its arguments in a list or alone', async () => {
  using callee = answerCalls(nowhere)
  assert.equal(await callee.call('math.add', '[1,2]'), '3')
  assert.equal(callee.called, undefined)
  assert.equal(await callee.call('math.add', '7'), '7')
  assert.equal(await callee.call('math.add', 'null'), '0')
  await assert.rejects(callee.call('math.add', '["1"]'), TypeError)
  await assert.rejects(callee.call('math.modulo', '[]'), { code: 'NOT_FOUND' })
  const many = JSON.stringify(Array.from({ length: 101 }, () => 1))
  await assert.rejects(callee.call('math.add', many), { code: 'INVALID' })
})

test('A number that JSON does not have is an error of the call that names it', async () => {
  using callee = answerCalls(nowhere)
  for (const [args, message] of [
    ['[1,0]', /"math.divide": Infinity is not JSON/],
    ['[0,0]', /"math.divide": NaN is not JSON/],
  ] as const)
    await assert.rejects(callee.call('math.divide', args), { code: 'INVALID', message })
})

test('An isolated capability runs as a job, and its end is reported', async () => {
  const taken: unknown[] = []
  using callee = answerCalls(async (name, { input }) => {
    taken.push([name, input])
    return input === undefined ? ended(1) : ended({ at: [Number.NaN] })
  })
  assert.equal(await callee.call('ccos.io.read-file', '["/a"]'), '{"at":[null]}')
  assert.deepEqual(taken, [['ccos.io.read-file', ['/a']]])
  assert.deepEqual(callee.called, { jobs: 1, cpuTime: 0 })
  using failing = answerCalls(async () => ({
    ...ended(null),
    status: 'limit',
    error: { code: 'MEMORY', message: 'Too much' },
  }))
  await assert.rejects(failing.call('ccos.io.read-file', '[]'), { message: 'Too much' })
})

test('Calls of a job end with the job', async () => {
  const signals: AbortSignal[] = []
  {
    using callee = answerCalls((_, __, signal) => {
      signals.push(signal)
      return new Promise(() => undefined)
    })
    void callee.call('ccos.io.read-file', '[]')
    await turn()
    assert.equal(signals[0]?.aborted, false)
  }
  assert.equal(signals[0]?.aborted, true)
})

test('Isolated calls are bounded, in total and concurrently', async () => {
  using waiting = answerCalls(() => new Promise(() => undefined))
  for (let call = 0; call < 4; call++) void waiting.call('ccos.io.read-file', '[]')
  await assert.rejects(waiting.call('ccos.io.read-file', '[]'), { code: 'RATE_LIMITED' })
  using many = answerCalls(async () => ended(1))
  for (let call = 0; call < 100; call++) await many.call('ccos.io.read-file', '[]')
  await assert.rejects(many.call('ccos.io.read-file', '[]'), { code: 'RATE_LIMITED' })
  assert.equal(await many.call('math.add', '[1]'), '1')
})
