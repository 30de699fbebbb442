import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import type { Provider } from '../../src/contract/provider.ts'
import type { TierName } from '../../src/contract/tier.ts'
import { Mayfly, type Outcome } from '../../src/index.ts'
import { createMockProvider } from '../../src/tiers/mock/provider.ts'
import { test } from '../fixtures/drawn.ts'
import { bearer, endOf, openDoor, post } from './http-door.ts'
import { makePlace, mayfly } from './program.ts'

const place = makePlace()
let library: Mayfly

/** Provider whose result is its own name, for any code. */
function wall(
  name: string,
  tier: TierName,
  strength: 3 | 4,
  more: Partial<Provider> & { readonly layers?: number } = {},
): Provider {
  const { layers = 1, ...rest } = more
  const proved = Array.from({ length: layers }, (_, index) => `layer ${index}`)
  return {
    ...createMockProvider({ script: () => [{ result: name }] }),
    name,
    tier,
    languages: ['js', 'ts'],
    detect: async () => ({ available: true, strength, layers: proved, missing: [] }),
    ...rest,
  }
}

before(async () => {
  const providers = [
    wall('dear', 'userkernel', 4),
    wall('thin', 'gvisor', 4),
    wall('full', 'gvisor', 4, { layers: 5 }),
  ]
  library = await Mayfly.open({ state: join(place.state, 'library') }, { providers })
})
after(async () => {
  await library.close()
  place.remove()
})

const because = ({ profile }: Outcome, field: string) =>
  profile.explain.find((row) => row.field === field)?.because ?? ''

suite('Choosing a wall', () => {
  test('A job that any wall may run gets the cheapest, and every other wall has a reason why not', async () => {
    const outcome = await library.run({ code: 'return 1' })
    assert.equal(outcome.provider, 'isolated-vm')
    assert.match(because(outcome, 'providers.full'), /"isolated-vm" is cheaper \(1\.2 MiB a spare/)
    assert.equal(because(outcome, 'cost'), 'usual for tier "isolate"')
  })

  test('With a floor a job gets the cheapest tier that reaches it, and in that tier the wall with more layers', async () => {
    const outcome = await library.run({ code: 'return 1', floor: 'gvisor' })
    assert.equal(outcome.result, 'full')
    assert.match(because(outcome, 'providers.thin'), /"full" has more layers \(5/)
    assert.match(because(outcome, 'providers.dear'), /"full" is cheaper \(36 MiB/)
    assert.match(because(outcome, 'providers.isolated-vm'), /strength 1 is below 4 \(asked\)/)
  })

  test('A job that names a tier gets exactly that tier, at any cost', async () => {
    assert.equal((await library.run({ code: 'return 1', tier: 'userkernel' })).result, 'dear')
  })

  test('A job ends unavailable if no wall is strong enough, and blocked if its tier is below its floor', async () => {
    const none = await library.run({ code: 'return 1', floor: 'microvm' })
    assert.deepEqual([none.status, none.error?.code], ['unavailable', 'UNAVAILABLE'])
    const weak = await library.run({ code: 'return 1', tier: 'isolate', floor: 'gvisor' })
    assert.deepEqual([weak.status, weak.error?.code], ['blocked', 'TIER_TOO_WEAK'])
  })

  test('S1-10: riskier code gets lower quotas, and the outcome says by which rule', async () => {
    const risky = `eval(atob('${'QUJD'.repeat(200)}')); return 1`
    const [tame, wild] = await Promise.all([
      library.run({ code: 'return 1', floor: 'gvisor' }),
      library.run({ code: risky, floor: 'gvisor' }),
    ])
    const value = ({ profile }: Outcome, field: string) =>
      Number(profile.explain.find((row) => row.field === field)?.value)
    assert.ok(wild.security.risk >= 40, `risk ${wild.security.risk}`)
    assert.ok(value(wild, 'limits.cpu') < value(tame, 'limits.cpu'))
    assert.ok(value(wild, 'controls.io') > 0)
    assert.equal(because(tame, 'controls.io'), 'default', 'it has no bound')
    assert.match(because(wild, 'limits.cpu'), /of it \(restraint\.\d+, risk \d+\)/)
  })

  test('run --explain prints the chosen wall, its cost, and why the others were not chosen', async () => {
    const program = join(place.cwd, 'one.js')
    writeFileSync(program, 'return 1')
    const { code, stderr } = await mayfly(place, [
      'run',
      program,
      '--explain',
      '--shadow',
      'microvm',
    ])
    assert.equal(code, 0)
    assert.match(stderr, /provider +isolated-vm +the cheapest available that is strong enough/)
    assert.match(stderr, /cost +\{"spareMiB":1\.2,"refillMs":1\}/)
    assert.match(stderr, /Shadow on microvm: not run: Cannot run the code safely enough here/)
  })

  test('S0-14: a language that no wall here runs is a 4xx with its reason over HTTP', async () => {
    const error = { code: 'LANGUAGE_UNSUPPORTED', message: 'Cannot run "sh" here' }
    await using door = await openDoor({
      road: async (job) => endOf(job, { status: 'unavailable', error }),
    })
    const { status, json } = await post(
      `${door.gateway.activeUrl}/v1/executions`,
      { code: 'true', language: 'sh' },
      bearer(door.key),
    )
    assert.deepEqual([status, json['code']], [422, 'LANGUAGE_UNSUPPORTED'])
    assert.equal(json['message'], error.message)
    assert.equal(json['outcome'].status, 'unavailable')
  })
})
