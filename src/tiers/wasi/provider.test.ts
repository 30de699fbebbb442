import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, factsOf, jobOf, verdictOf } from '../../../tests/fixtures/profile-world.ts'
import { makePlan } from '../../profile/make-profile.ts'
import { createWasiProvider } from './provider.ts'

test('S4-10: a module whose capability has less than one core is unavailable, with the reason; with a whole core it runs', () => {
  const parts = { warden: {}, emitter: { emit() {} }, wallsMax: 1, keepReady: false }
  const { name, tier, languages, enforces, can } = createWasiProvider(parts as never)
  const facts = [factsOf(tier, { name, languages, enforces, can })]
  const planOf = (cpu_limit: number) => {
    const config = configOf({ capability_configs: { heavy: { cpu_limit } } })
    const verdict = verdictOf(0, { language: 'wasm', entry: 'function' })
    return makePlan({ ...jobOf(), capability: 'heavy' }, verdict, { config, facts })
  }
  const refused = planOf(0.1)
  assert(refused.kind === 'unavailable')
  assert.match(JSON.stringify(refused), /cannot limit a guest to less than one core/)
  assert.equal(planOf(1).kind, 'run')
})
