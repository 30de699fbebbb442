import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allControls, noNetwork } from '../../src/contract/controls.ts'
import type { Profile } from '../../src/contract/profile.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { MayflyClient } from '../../src/sdk/client.js'
import { adminKey, bearer, endOf, openDoor, type TestDoor } from './http-door.ts'

const otherKey = 'mfy_other_0123456789abcdefghijklmnop'
const profile = {
  tier: 'process',
  provider: 'node',
  controls: allControls,
  limits: { timeout: 9000 },
  schedule: {
    phases: [
      { name: 'full', for: 4000, controls: allControls },
      { name: 'no-network', for: 5000, controls: { ...allControls, network: noNetwork } },
    ],
  },
} as unknown as Profile
const timeline = [
  { at: 0, zone: 'main', event: 'phase', phase: '<full>' },
  { at: 5, zone: 'main', event: 'denied', reason: '</svg><script>alert(1)</script>' },
] as const

/** A pipeline stub that reports its plan and its first phase, and waits. */
function waiting() {
  const { promise: goOn, resolve: letGo } = Promise.withResolvers<void>()
  const road: RunJob = async (job, { planned, on }) => {
    planned?.(profile)
    for (const entry of timeline) on?.(entry)
    await goOn
    return { ...endOf(job, { result: 7 }), timeline }
  }
  return { road, letGo }
}

const ask = (door: TestDoor, path: string, key = adminKey) =>
  fetch(`${door.gateway.activeUrl}/v1/executions/${path}`, { headers: bearer(key) })

test('S2-29: The timeline of a job is drawn while it runs and after its end, and its texts are escaped', async () => {
  const { road, letGo } = waiting()
  await using door = await openDoor({ road })
  const client = new MayflyClient({ url: door.gateway.activeUrl, key: adminKey })
  const { id } = await client.submit({ code: '1' })
  const live = await ask(door, `${id}/timeline.svg`)
  assert.equal(live.headers.get('content-type'), 'image/svg+xml; charset=utf-8')
  assert.match(live.headers.get('content-security-policy') ?? '', /default-src 'none'.*sandbox/)
  const drawn = await live.text()
  assert.match(drawn, /<title>A life, running .* of 9 s<\/title>/)
  assert.match(drawn, /process, node/)
  letGo()
  for await (const { event } of client.watch(id)) assert.notEqual(event, 'problem')
  const over = await client.draw(id, { width: 640 })
  assert.match(over, /<title>A life, ok after 5 ms/)
  assert.match(over, / width="640" /)
  for (const svg of [drawn, over]) {
    assert.match(svg, /&#60;full&#62;/)
    assert.doesNotMatch(svg, /<script|<full>/)
  }
})

test('No picture is drawn for a job of another tenant, for an unknown job, or in an invalid size', async () => {
  const { keys } = await openKeys({
    first: adminKey,
    tenants: [{ name: 'other', keys: [`sha256:${sha256(otherKey)}`] }],
  })
  await using door = await openDoor({ keys })
  const client = new MayflyClient({ url: door.gateway.activeUrl, key: adminKey })
  const { id } = await client.run({ code: '1' })
  const statusOf = async (path: string, key?: string) => (await ask(door, path, key)).status
  assert.equal(await statusOf(`${id}/timeline.svg`), 200)
  assert.equal(await statusOf(`${id}/timeline.svg`, otherKey), 404)
  assert.equal(await statusOf(`exec_${'0'.repeat(32)}/timeline.svg`), 404)
  for (const query of ['width=1', 'width=99999', 'width=x', 'height=3'])
    assert.equal(await statusOf(`${id}/timeline.svg?${query}`), 422)
  await assert.rejects(client.draw(id, { width: 1 }), { code: 'INVALID' })
})
