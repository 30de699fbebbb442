import { test } from 'node:test'
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { loadConfig } from './load.ts'
import { overrideConfig, widenings } from './override.ts'

const { config } = loadConfig({
  cwd: '/',
  env: { XDG_STATE_HOME: '/state' },
  object: {
    network: { allow: ['*.example'] },
    tenants: [{ name: 'acme', floor: 'process', ceilings: { memory: '1GB' } }],
  },
})

const narrower: readonly (readonly [string, object])[] = [
  ['less memory', { limits: { memory: '1MB' } }],
  ['fewer hosts', { network: { allow: ['a.example'] } }],
  ['no network', { network: 'none' }],
  ['an earlier block', { escalation: { 0: 'isolate', 40: 'process', 60: 'gvisor', 80: 'block' } }],
  ['a ceiling where there was none', { ceilings: { cpu: 2 } }],
  ['a lower ceiling of artifacts where the built-in one held', { ceilings: { artifacts: '63MB' } }],
  ['a network ceiling where there was none', { ceilings: { network: 'none' } }],
  ['a higher floor', { tenants: { acme: { floor: 'gvisor' } } }],
  ['a ceiling of a tenant', { tenants: { default: { ceilings: { concurrency: 1 } } } }],
  ['no anonymous visitors', { sessions: { anonymous: false } }],
  ['another provider, if it is no weaker', { default_provider: 'isolated-vm' }],
]
for (const [what, patch] of narrower)
  test(`S4-16: an override may set ${what}`, () =>
    assert.notDeepEqual(overrideConfig(config, patch, { prefersWeaker: () => false }), config))

test('An override has the bound of a limit that the configuration has', () => {
  const on = (disk: string) =>
    overrideConfig(config, { limits: { disk } }, { allowWidening: true }).limits.disk
  assert.equal(on('64GB'), 64 * 2 ** 30)
  assert.throws(() => on('65GB'), /limits\.disk: expected at most 64 GB/)
})

const wider: readonly (readonly [string, object])[] = [
  ['limits.memory', { limits: { memory: '2GB' } }],
  ['default_provider', { default_provider: 'mock' }],
  ['network', { network: 'open' }],
  ['network', { network: { allow: ['other.test'] } }],
  ['escalation', { escalation: { 0: 'isolate' } }],
  ['escalation', { escalation: { 1: 'isolate', 40: 'process', 60: 'gvisor', 80: 'block' } }],
  ['ceilings.output', { ceilings: { output: '1GB' } }],
  ['ceilings.artifacts', { ceilings: { artifacts: '65MB' } }],
  ['sessions.anonymous', { sessions: { anonymous: true } }],
  ['sessions.per_minute', { sessions: { per_minute: 61 } }],
  ['sessions.cpu_share', { sessions: { cpu_share: 0.6 } }],
  ['sessions.address.tokens_per_minute', { sessions: { address: { tokens_per_minute: 301 } } }],
  ['tenants.acme.floor', { tenants: { acme: { floor: 'isolate' } } }],
  ['tenants.acme.ceilings.memory', { tenants: { acme: { ceilings: { memory: '2GB' } } } }],
]
for (const [field, patch] of wider)
  test(`S4-16: ${JSON.stringify(patch)} widens ${field} and needs the right to`, () => {
    assert.throws(() => overrideConfig(config, patch), {
      code: 'FORBIDDEN',
      details: { widens: [field] },
    })
    assert.deepEqual(widenings(config, overrideConfig(config, patch, { allowWidening: true })), [
      field,
    ])
  })

test('a malformed override is refused with the invalid key', () => {
  assert.throws(() => overrideConfig(config, { server: { port: 1 } }), { code: 'INVALID' })
  assert.throws(() => overrideConfig(config, { limits: { memory: 'x' } }), /limits\.memory/)
  assert.throws(() => overrideConfig(config, { tenants: { nobody: {} } }), /"nobody"/)
  assert.throws(() => overrideConfig(config, null), { code: 'INVALID' })
})

test('production refuses the mock at run time too', () => {
  const production = { ...config, environment: 'production' }
  assert.throws(() => overrideConfig(production, { default_provider: 'mock' }), { code: 'INVALID' })
})

test('the original configuration is unchanged, and the new one is frozen', () => {
  const before = JSON.stringify(config)
  const next = overrideConfig(config, { limits: { cpu: 0.5 } })
  assert.equal(JSON.stringify(config), before)
  assert.equal(next.limits.cpu, 0.5)
  assert.ok(Object.isFrozen(next.limits))
})

const tier = fc.constantFrom('isolate', 'process', 'microvm')
/** Bytes on both sides of the configuration's own bounds: of all numbers most are above, and would change nothing. */
const memory = fc.constantFrom(2 ** 20, 2 ** 24, 2 ** 26, 2 ** 30, 2 ** 40)
const patch = fc.record(
  {
    network: fc.constantFrom('none', 'open', { allow: ['a.example'] }, { deny: ['b.example'] }),
    limits: fc.record({ memory, cpu: fc.constantFrom(0.5, 1, 2) }, { requiredKeys: [] }),
    ceilings: fc.record({ memory, network: fc.constant('none') }, { requiredKeys: [] }),
    tenants: fc.record({ acme: fc.record({ floor: tier }, { requiredKeys: [] }) }),
  },
  { requiredKeys: [] },
)

const fields: Readonly<Record<string, (one: typeof config) => unknown>> = {
  network: (one) => one.network,
  memory: (one) => one.limits.memory,
  cpu: (one) => one.limits.cpu,
  'ceilings.memory': (one) => one.ceilings.memory,
  'ceilings.network': (one) => one.ceilings.network,
  floor: (one) => one.tenants.find(({ name }) => name === 'acme')?.floor,
}

test('overrides without the right to widen never add up to a wider configuration', () => {
  const changed = new Set<string>()
  let refused = 0
  fc.assert(
    fc.property(fc.array(patch, { maxLength: 5 }), (patches) => {
      let now = config
      for (const one of patches)
        try {
          const next = overrideConfig(now, one)
          for (const [name, read] of Object.entries(fields))
            if (!isDeepStrictEqual(read(now), read(next))) changed.add(name)
          now = next
        } catch {
          refused++
        }
      assert.deepEqual(widenings(config, now), [])
    }),
  )
  // Overrides of which none changes a field would pass too.
  assert.deepEqual([...changed].toSorted(), Object.keys(fields).toSorted())
  assert.ok(refused > 0)
})
