import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { controlNames } from '../contract/controls.ts'
import type { JobRequest } from '../contract/job.ts'
import { PlanMemo } from './plan-memo.ts'
import { makePlan } from './make-profile.ts'

const MB = 2 ** 20
const seed = {
  timeout: '30s',
  memory_limit_mb: 64,
  cpu_limit: 0.3,
  network_policy: { AllowList: ['api.github.com', 'httpbin.org'] },
  fs_policy: 'None',
} as const
const facts = [
  factsOf('isolate', { can: ['network', 'folder-calls'], enforces: ['network', 'memory'] }),
  factsOf('process', { can: ['network', 'folder-calls'], enforces: controlNames }),
]

function planOf(
  called: string | undefined,
  values: unknown,
  asked: JobRequest = {},
  language: 'js' | 'python' = 'js',
) {
  const config = configOf(values)
  const job = { ...jobOf(asked), ...(called !== undefined && { capability: called }) }
  return makePlan(job, verdictOf(0, { language }), { config, facts })
}

function becauseOf({ profile }: ReturnType<typeof planOf>, field: string) {
  const row = profile.explain.find((one) => one.field === field)
  return [row?.value, row?.because]
}

const http = 'ccos.network.http-fetch'

test('S4-37: all five settings of a capability are in its profile, each with its source', () => {
  const plan = planOf(http, { capability_configs: { [http]: seed } })
  const { limits, controls } = plan.profile
  assert.equal(plan.kind, 'run')
  assert.deepEqual([limits.timeout, limits.memory, limits.cpu], [30_000, 64 * MB, 0.3])
  assert.deepEqual([controls.memory, controls.cpu], [64 * MB, 0.3])
  assert.deepEqual(controls.network.allow, [
    'http://api.github.com:80',
    'http://httpbin.org:80',
    'https://api.github.com:443',
    'https://httpbin.org:443',
  ])
  assert.deepEqual(controls.files, { read: [], write: [] })
  const where = `capability_configs.${http}`
  assert.equal(becauseOf(plan, 'limits.timeout')[1], `${where}.timeout`)
  assert.equal(becauseOf(plan, 'limits.memory')[1], `${where}.memory_limit_mb`)
  assert.equal(becauseOf(plan, 'limits.cpu')[1], `${where}.cpu_limit`)
  assert.equal(becauseOf(plan, 'controls.network')[1], `${where}.network_policy`)
  assert.deepEqual(becauseOf(plan, 'controls.files'), ['none', `${where}.fs_policy`])
})

test('Settings of a capability apply to no other job, whatever its labels', () => {
  const values = { capability_configs: { [http]: seed } }
  for (const plan of [planOf(undefined, values), planOf('another', values)]) {
    assert.equal(plan.profile.limits.memory, 128 * MB)
    assert.deepEqual(plan.profile.controls.network.allow, [])
  }
})

test('S4-6: two capabilities of one configuration have their own limits', () => {
  const values = {
    capability_configs: {
      small: { memory_limit_mb: 16, timeout: 100 },
      large: { memory_limit_mb: 256, timeout: '10s', network_policy: 'Full' },
    },
  }
  const [small, large] = [planOf('small', values).profile, planOf('large', values).profile]
  assert.deepEqual([small.limits.memory, large.limits.memory], [16 * MB, 256 * MB])
  assert.deepEqual([small.limits.timeout, large.limits.timeout], [100, 10_000])
  assert.deepEqual([small.controls.network.allow, large.controls.network.allow], [[], 'any'])
})

test('A capability stays within the ceilings of its tenant and the configuration', () => {
  const plan = planOf('greedy', {
    ceilings: { timeout: '2s', network: { allow: ['api.github.com'] } },
    tenants: [{ name: 'default', ceilings: { memory: '32MB' } }],
    capability_configs: {
      greedy: { timeout: '1h', memory_limit_mb: 4096, network_policy: 'Full' },
    },
  })
  const { limits, controls } = plan.profile
  assert.deepEqual([limits.timeout, limits.memory], [2000, 32 * MB])
  assert.deepEqual(controls.network.allow, ['https://api.github.com:443'])
  assert.equal(becauseOf(plan, 'limits.memory')[1], 'tenants.default.ceilings.memory')
})

test('A call may ask for less than its capability has, and never gets more', () => {
  const values = { capability_configs: { [http]: seed } }
  const less = planOf(http, values, { limits: { timeout: 50, memory: '1GB' }, network: 'open' })
  assert.deepEqual([less.profile.limits.timeout, less.profile.limits.memory], [50, 64 * MB])
  const { allow } = less.profile.controls.network
  assert.ok(allow !== 'any' && allow.length === 4)
  assert.deepEqual(planOf(http, values, { network: 'none' }).profile.controls.network.allow, [])
})

test('A limit below one core selects a wall that can enforce it', () => {
  const values = { capability_configs: { [http]: seed } }
  assert.equal(planOf(http, values).profile.tier, 'process')
  const refused = planOf(http, values, { tier: 'isolate' })
  assert(refused.kind === 'unavailable')
  assert.match(refused.error.message, /holds "cpu"/)
  const whole = planOf('x', { capability_configs: { x: { cpu_limit: 1 } } })
  assert.equal(whole.profile.tier, 'isolate')
})

test('Folders need a realm, and programs get an error with the alternative', () => {
  const policy = { ReadWrite: ['/srv/data'] }
  const values = { capability_configs: { files: { fs_policy: policy } } }
  const plan = planOf('files', values)
  assert.equal(plan.kind, 'run')
  assert.deepEqual(plan.profile.controls.files, { read: ['/srv/data'], write: ['/srv/data'] })
  const program = planOf('files', values, {}, 'python')
  assert(program.kind === 'unavailable')
  assert.match(program.error.message, /can provide folders of this machine to programs/)
  assert.match(String((program.error.details as { hint?: string }).hint), /by call|hand the files/)
})

test('Capability calls select a wall that supports them, and no wall does for programs', () => {
  const calls: JobRequest = { capabilities: ['math.add'] }
  const config = configOf()
  const plan = (language: 'js' | 'python', can: 'calls' | 'network') => {
    const own = [factsOf('process', { can: [can], enforces: controlNames })]
    return makePlan(jobOf(calls), verdictOf(0, { language }), { config, facts: own })
  }
  assert.equal(plan('js', 'calls').kind, 'run')
  assert.equal(plan('js', 'network').kind, 'unavailable')
  assert.equal(plan('python', 'calls').kind, 'unavailable')
})

test('A schedule bound to a capability applies to its calls', () => {
  const phases = [{ name: 'brief', for: 70 }]
  const values = { schedules: { short: { phases, for_capabilities: ['slow'] } } }
  assert.equal(planOf('slow', values).profile.schedule.phases[0]?.name, 'brief')
  assert.notEqual(planOf('fast', values).profile.schedule.phases[0]?.name, 'brief')
})

test('Plans of two capabilities are cached separately', () => {
  const config = configOf({ capability_configs: { a: { memory_limit_mb: 16 } } })
  const memo = new PlanMemo()
  const ofOne = (capability: string) => {
    const asked = { job: { ...jobOf(), capability }, verdict: verdictOf(), config, facts }
    return memo.plan(asked, () => makePlan(asked.job, asked.verdict, asked)).profile.limits.memory
  }
  assert.deepEqual([ofOne('a'), ofOne('b')], [16 * MB, 128 * MB])
})

test('The pipeline plans a job twice: the plan is made once, and again after a change of the configuration', () => {
  const memo = new PlanMemo()
  const job = jobOf()
  const verdict = { ...verdictOf(), digest: 'x'.repeat(10_000) }
  let made = 0
  const plan = (config: ReturnType<typeof configOf>) => {
    const asked = { job, verdict, config, facts }
    return memo.plan(asked, () => (made++, makePlan(job, verdict, asked)))
  }
  const before = configOf({})
  assert.equal(plan(before), plan(before))
  assert.equal(made, 1, 'also where its key is too long to be kept')
  assert.notEqual(plan(configOf({ limits: { memory: '16MiB' } })), plan(before))
  assert.equal(made, 3)
})
