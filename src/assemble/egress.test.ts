import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { loadConfig } from '../config/load.ts'
import { allControls } from '../contract/controls.ts'
import { networkOf } from '../contract/network.ts'
import { egressFor } from './egress.ts'

test('The CA of inspected TLS is made anew in half of its life, so that a server may run for years', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.parse('2026-01-01') })
  const paths = egressFor(
    loadConfig({ env: { MAYFLY_STATE: '/state' }, cwd: '/', object: {} }).config,
    {
      emitter: { emit: () => undefined },
      ownPorts: () => new Set(),
      outboundCheckFor: () => undefined,
    },
  )
  const network = networkOf({ allow: ['GET https://a.example/x'] })
  const trusted = async () => {
    const path = await paths.open({ ...allControls, network }, 'exec_1')
    path.close()
    return path.trust!
  }
  const first = await trusted()
  t.mock.timers.tick(100 * 86_400_000)
  assert.equal(await trusted(), first)
  t.mock.timers.tick(100 * 86_400_000)
  const second = await trusted()
  assert.notEqual(second, first)
  assert.ok(new X509Certificate(second).validToDate.getTime() > Date.now() + 300 * 86_400_000)
})
