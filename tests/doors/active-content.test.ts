import assert from 'node:assert/strict'
import { test } from 'node:test'
import { presetNames, presets } from '../../src/contract/presets.ts'
import { remedyText, type Remedy } from '../../src/contract/remedy.ts'
import type { RunJob } from '../../src/gateway/http/parts.ts'
import { call, echo, openDoor, tokenOf, type TestDoor } from './http-door.ts'

/** Sends a request as a page of the static endpoint does. */
async function send(door: TestDoor, body: object, accept = 'text/event-stream') {
  const { staticUrl } = door.gateway
  return call(`${staticUrl}/active-content`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: staticUrl, accept },
    body: JSON.stringify({ sessionToken: await tokenOf(door), ...body }),
  })
}

const talking: RunJob = async (job, { tap, on, planned, signal }) => {
  planned?.(profile as never)
  on?.({ at: 0, zone: 'main', event: 'phase', phase: 'full' })
  await tap?.('stdout', 'one')
  await tap?.('stderr', 'two')
  return echo(job, { signal })
}
const controls = { network: 'none', cpu: 1 }
const profile = {
  controls,
  tier: 'isolate',
  provider: 'isolated-vm',
  limits: { timeout: 5000 },
  schedule: { phases: [{ name: 'full', for: 5000, controls }] },
}

function eventsIn(text: string) {
  return [...text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(([, event, data]) => ({
    event,
    data: JSON.parse(data!) as Record<string, any>,
  }))
}

test('Active content is streamed if the page accepts events, and the plan is the first event', async () => {
  await using door = await openDoor({ road: talking })
  const answer = await send(door, { content: 'return 1' })
  assert.match(answer.headers.get('content-type') ?? '', /^text\/event-stream/)
  const events = eventsIn(answer.text)
  assert.deepEqual(
    events.map(({ event }) => event),
    ['plan', 'event', 'stdout', 'stderr', 'outcome'],
  )
  assert.deepEqual(events[0]!.data, {
    plan: { controls, phases: [{ name: 'full', for: 5000, controls: {} }], msMax: 5000, zones: {} },
    wall: 'isolate, isolated-vm',
  })
  assert.equal(events.at(-1)!.data['status'], 'ok')
})

test('The author of a page reads what the page can change, and what its operator can', async () => {
  const file: Remedy = { field: 'files' }
  const memory: Remedy = { field: 'limits.memory', value: 2 ** 28 }
  const message = `bring it with ${remedyText(file)}; ${remedyText(memory)} raises it`
  const error = { code: 'MEMORY', message, details: { remedies: [file, memory] } }
  const road: RunJob = async (job, caller) => ({ ...(await echo(job, caller)), error })
  await using door = await openDoor({ road })
  const { json } = await send(door, { content: 'return 1' }, '*/*')
  const own = `bring it with code that contains it; "limits.memory" in the operator's configuration raises it`
  assert.equal(json['error'].message, own)
})

test('A page that does not accept events gets the whole outcome in one response', async () => {
  await using door = await openDoor({ road: talking })
  const answer = await send(door, { content: 'return 1' }, '*/*')
  assert.equal(answer.json['status'], 'ok')
})

test('The stream of a job over the API has no plan event', async () => {
  await using door = await openDoor({ road: talking })
  const answer = await call(`${door.gateway.activeUrl}/v1/executions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${door.key}`,
      'content-type': 'application/json',
      accept: 'text/event-stream',
    },
    body: '{"code":"return 1"}',
  })
  assert.deepEqual(
    eventsIn(answer.text).map(({ event }) => event),
    ['event', 'stdout', 'stderr', 'outcome'],
  )
})

test('A visitor may select a preset, with the network of that preset, and set nothing else', async () => {
  await using door = await openDoor()
  for (const schedule of presetNames) {
    assert.equal((await send(door, { content: '1', schedule }, '*/*')).status, 200)
    const { asked } = door.jobs.at(-1)!
    const hosts = presets()[schedule]!.network
    const network = hosts.length > 0 ? { allow: hosts } : 'none'
    assert.deepEqual([asked.schedule, asked.network], [schedule, network])
  }
  const before = door.jobs.length
  for (const more of [
    { schedule: 'default' },
    { schedule: '__proto__' },
    { network: 'open' },
    { limits: { timeout: '1h' } },
    { files: [{ path: 'a', content: 'b' }] },
    { artifacts: 'everywhere' },
  ])
    assert.equal((await send(door, { content: '1', ...more }, '*/*')).status, 422)
  assert.equal(door.jobs.length, before)
})

test('A page may request inline artifacts; by default its job asks for references', async () => {
  await using door = await openDoor()
  await send(door, { content: '1', artifacts: 'inline' }, '*/*')
  await send(door, { content: '1' }, '*/*')
  assert.deepEqual(
    door.jobs.map(({ asked }) => asked.artifacts),
    ['inline', 'reference'],
  )
})
