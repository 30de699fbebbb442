import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, jobOf, leastFacts, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { systemClock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Analysis } from '../contract/verdict.ts'
import { makePlan } from '../profile/make-profile.ts'
import { createEffects, type EffectsParts } from './effects.ts'
import { openEffectStore } from './store.ts'

const world = { config: configOf({ ceilings: { timeout: '1s' } }), facts: leastFacts }

function roomOf(analysis: Analysis, more: Partial<EffectsParts> = {}) {
  const store = openEffectStore(':memory:')
  const steps: string[] = []
  const effects = createEffects({
    store: () => store,
    clock: systemClock,
    async analyse() {
      steps.push('analysed')
      return analysis
    },
    plan(job, verdict) {
      // Last step before storing.
      steps.push('planned')
      return makePlan(job, verdict, world)
    },
    audit: () => void steps.push('audited'),
    ...more,
  })
  return { effects, store, steps }
}

const scoring = (threatScore: number): Analysis => ({
  kind: 'verdict',
  verdict: verdictOf(0, { threatScore }),
})
const asked = { effectId: 'x' }

test('Code is analysed, audited above a score of 40, and only then stored', async () => {
  const { effects, steps } = roomOf(scoring(41))
  await effects.register(jobOf(), asked)
  assert.deepEqual(steps, ['analysed', 'audited', 'planned'])
  assert.equal(effects.get('default', 'x').security.threatScore, 41)
})

test('A WebAssembly module with invalid bytes is refused with their offset, and not stored', async () => {
  const badModule = { message: 'This is no WebAssembly module at offset 0', offset: 0 }
  const { effects, steps } = roomOf({ kind: 'verdict', verdict: verdictOf(0), badModule })
  await assert.rejects(effects.register(jobOf(), asked), {
    code: 'INVALID',
    message: 'Cannot register the effect: "code": This is no WebAssembly module at offset 0',
    details: [{ path: 'code', ...badModule }],
  })
  assert.deepEqual(steps, ['analysed'])
  assert.throws(() => effects.get('default', 'x'), { code: 'NOT_FOUND' })
})

test('Blocked code is audited and not stored', async () => {
  const { effects, steps } = roomOf(scoring(80))
  await assert.rejects(effects.register(jobOf(), asked), { code: 'THREAT_DETECTED' })
  assert.deepEqual(steps, ['analysed', 'audited'])
  assert.throws(() => effects.get('default', 'x'), { code: 'NOT_FOUND' })
})

test('Code whose audit line cannot be written is not stored', async () => {
  const { effects } = roomOf(scoring(41), {
    audit() {
      throw new MayflyError('STATE', 'Cannot write the record')
    },
  })
  await assert.rejects(effects.register(jobOf(), asked), { code: 'STATE' })
  assert.throws(() => effects.get('default', 'x'), { code: 'NOT_FOUND' })
})

test('Code with a wrong signature is refused without further effects', async () => {
  const { effects, steps } = roomOf(scoring(0), {
    analyse: () => Promise.reject(new MayflyError('SIGNATURE_INVALID', 'No')),
  })
  await assert.rejects(effects.register(jobOf(), asked), { code: 'SIGNATURE_INVALID' })
  assert.deepEqual(steps, [])
})

test('The reply shows the effective limits, not the requested ones', async () => {
  const { effects } = roomOf(scoring(0))
  const { timeout } = await effects.register(jobOf({ limits: { timeout: '5s' } }), asked)
  assert.equal(timeout, 1000)
})

test('Risk decides nothing here, and severity is that of the threat score', async () => {
  const verdict = verdictOf(100, { threatScore: 20 })
  const { effects } = roomOf({ kind: 'verdict', verdict })
  const { security } = await effects.register(jobOf(), asked)
  assert.deepEqual(security, { threatScore: 20, severity: 'low', signatureValid: false })
})
