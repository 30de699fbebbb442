import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { reference } from '../../scripts/config-reference.ts'
import { readFileSync } from 'node:fs'
import { configSchema } from '../contract/config.ts'
import { loadConfig } from './load.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('the example can be used, without a warning', () => {
  const { config, warnings } = loadConfig({
    cwd: root,
    file: 'mayfly.example.toml',
    env: { XDG_STATE_HOME: '/state' },
  })
  assert.deepEqual(warnings, [])
  assert.equal(config.tenants[1]?.name, 'acme')
})

test('values that the example marks as defaults are the defaults', () => {
  const { config } = loadConfig({
    cwd: root,
    file: 'mayfly.example.toml',
    env: { XDG_STATE_HOME: '/state' },
  })
  const { escalation, limits, server, network } = configSchema.parse({})
  assert.deepEqual(config.escalation, escalation)
  assert.deepEqual(config.limits, limits)
  assert.deepEqual(config.server, server)
  assert.deepEqual(config.network, network)
})

test('the reference matches the schema', () =>
  assert.equal(readFileSync(`${root}/docs/configuration.md`, 'utf8'), reference()))
