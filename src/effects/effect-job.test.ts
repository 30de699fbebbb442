import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Effect } from '../contract/effect.ts'
import { jobRequest } from '../contract/job.ts'
import { effectJob } from './effect-job.ts'

const effect: Effect = {
  effectId: 'x',
  code: 'return 1',
  language: 'ts',
  timeout: 1000,
  memoryLimit: 64,
  registeredBy: 'ada',
  registeredAt: 1,
  codeDigest: 'sha256:',
  security: { threatScore: 0, severity: 'low', signatureValid: true },
  signature: 'c2ln',
  publicKey: 'a2V5',
}

const call = (more: object) => effectJob(effect, jobRequest.parse({ effectId: 'x', ...more }))

test('A call of an effect runs its code in the analysed language, with its signature', () => {
  const asked = call({ labels: { a: 'b' } })
  assert.equal(asked.code, 'return 1')
  assert.equal(asked.language, 'ts')
  assert.deepEqual([asked.signature, asked.publicKey], ['c2ln', 'a2V5'])
  assert.deepEqual(asked.labels, { a: 'b' })
  assert.deepEqual(asked.limits, { timeout: 1000, memory: 64 * 2 ** 20 })
})

test('A call may lower the limits of an effect, never raise them', () => {
  const less = call({ limits: { timeout: '500ms' } })
  assert.deepEqual(less.limits, { timeout: 500, memory: 64 * 2 ** 20 })
  const more = call({ limits: { memory: '1GB' } })
  assert.deepEqual(more.limits, { timeout: 1000, memory: 64 * 2 ** 20 })
})

test('A call cannot change the language of the code or its signature', () => {
  assert.throws(() => call({ language: 'js' }), { code: 'INVALID', message: /"language"/ })
  assert.throws(() => call({ signature: 'AAAA' }), { code: 'INVALID', message: /"signature"/ })
  assert.equal(call({ language: 'ts' }).language, 'ts')
})
