import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Migrations } from './migrations.ts'
import type { QmpClient } from './qmp.ts'

test(
  'A save or restore that the machine begins and never ends is given up at its deadline',
  { timeout: 60_000 },
  async () => {
    const control = { ask: async () => ({}), ended: new Promise<string>(() => undefined) }
    const machine = control as unknown as QmpClient
    for (const verb of ['save', 'restore'] as const)
      await assert.rejects(new Migrations()[verb](machine, 'file:/own/state', 20), {
        code: 'PROTOCOL',
        message: `Cannot ${verb} a machine: it is late`,
      })
  },
)
