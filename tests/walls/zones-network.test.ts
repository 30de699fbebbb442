import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { assemble, type Assembly } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import type { JobRequest } from '../../src/contract/job.ts'
import { newJob } from '../../src/job.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { test } from '../fixtures/drawn.ts'
import { openWorld, type World } from '../fixtures/egress.ts'

/** Four zones that send, each in a wall with its own egress path. */
const folder = mkdtempSync(join(tmpdir(), 'mayfly-zones-network-'))
const events: Event[] = []
let world: World
let assembly: Assembly

before(async () => {
  world = await openWorld(() => false)
  const phases = [{ name: 'only', for: '15s' }]
  const record = { low: 'record', medium: 'record', high: 'record' } as const
  const object = {
    state: join(folder, 'state'),
    schedules: {
      apart: { phases, on_anomaly: record, zones: { network: { phases, on_anomaly: record } } },
      strict: {
        phases,
        zones: {
          network: {
            phases: [{ ...phases[0]!, terminate_if: 'events["egress/denied"] > 2' }],
            on_anomaly: record,
          },
        },
      },
      chained: {
        phases,
        on_anomaly: record,
        zones: {
          network: { phases, on_anomaly: record },
          compute: { phases, on_anomaly: record },
          secrets: {
            phases: [
              { name: 'with', for: '2s' },
              { name: 'without', for: '13s', network: 'none' },
            ],
            on_anomaly: record,
          },
        },
      },
      closing: {
        phases: [
          { name: 'with', for: '2s' },
          { name: 'without', for: '13s', network: 'none' },
        ],
        on_anomaly: record,
        zones: {
          network: { phases, on_anomaly: record },
          compute: { phases, on_anomaly: record },
        },
      },
      closed: {
        phases: [{ ...phases[0]!, network: 'none' }],
        on_anomaly: record,
        zones: { network: { phases, on_anomaly: record } },
      },
    },
  }
  const { config } = loadConfig({ object, env: {}, cwd: folder })
  const warden = await startWarden({ stateFolder: config.state })
  const sinks = [(event: Event) => void events.push(event)]
  const dial = {
    resolver: () => Promise.resolve(['127.0.0.1']),
    exceptions: world.exceptions,
    trust: [world.authority.pem],
  }
  assembly = assemble({ config, warden, kind: 'library', sinks, dial })
})
after(async () => {
  await assembly[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

const run = async (asked: JobRequest) => {
  const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
  const { signal } = new AbortController()
  const outcome = await assembly.run(newJob(asked, who, systemClock), { signal })
  assert.equal(outcome.tier, 'isolate')
  return outcome
}

const places = [1, 2, 3, 4]
const sending = (url: string) => `
${places
  .map(
    (place) => `async function send${place}() {
  try { return (await fetch('${url}', { method: 'POST', body: 'x'.repeat(20000) })).status }
  catch { return 'refused' }
}`,
  )
  .join('\n')}
const all = []
${places.map((place) => `all.push(await send${place}(), await send${place}())`).join('\n')}
return all`

test('S2-7: the send budget of a run is one sum over its zones, and attempts are reported per zone', async () => {
  const origin = `http://a.example:${world.ports.http}`
  const network = { allow: [origin], sent: 50_000 }
  const outcome = await run({ code: sending(`${origin}/`), network, schedule: 'apart' })
  assert.deepEqual(
    outcome.zones?.made.map(({ calls }) => calls),
    places.map(() => 2),
  )
  const sent = (outcome.result as readonly unknown[]).filter((one) => one !== 'refused')
  assert.deepEqual(sent, [200, 200], JSON.stringify(outcome.result))
  const { network: attempts, memoryUsage } = outcome.metrics
  assert.equal(attempts.length, 2 * places.length)
  const counted = attempts.reduce((sum, one) => sum + one.sent, 0)
  assert.ok(counted >= 40_000 && counted <= 50_000, `${counted} bytes were counted`)
  assert.ok(memoryUsage && memoryUsage.peak > 0)

  // The next run has its own budget.
  const again = await run({ code: sending(`${origin}/`), network, schedule: 'apart' })
  assert.deepEqual(again.result, outcome.result)
})

/** Paths requested from the server since, without the query. */
function asker() {
  const before = world.heard.length
  return () => new Set(world.heard.slice(before).map(({ line }) => line.split(/[ ?]/)[1]))
}

test('S2-18: a zone that loses the network does not regain it through another zone', async () => {
  const origin = `http://a.example:${world.ports.http}`
  const heard = asker()
  const code = `
async function out(url) { return (await fetch(url)).status }
async function relay(url) { return await out(url) }
async function readSecret(base) {
  await relay(base + '/relayed-before')
  await out(base + '/before')
  try {
    for (let n = 0; n < 300; n++) {
      await fetch(base + '/own')
      await new Promise((done) => setTimeout(done, 50))
    }
    return 'it never lost the network'
  } catch {}
  try { await out(base + '/after') } catch {}
  try { await relay(base + '/relayed-after') } catch {}
  try { await fetch(base + '/own-after') } catch {}
  return 'tried'
}
let said = 'nothing'
try { said = await readSecret('${origin}') } catch (error) { said = error.message }
await new Promise((done) => setTimeout(done, 3000))
return said`
  const { result, zones, timeline } = await run({
    code,
    network: { allow: [origin] },
    schedule: 'chained',
  })
  assert.deepEqual(zones?.made.map(({ name }) => name).sort(), ['out', 'readSecret', 'relay'])
  assert.match(String(result), /its channel was revoked when "readSecret" was tightened/)
  assert.deepEqual(heard(), new Set(['/relayed-before', '/before', '/own']))
  const told = (what: string) =>
    timeline
      .filter(
        ({ event, zone, fields }) =>
          event === 'channel' && zone === 'readSecret' && fields?.['what'] === what,
      )
      .map(({ fields }) => fields?.['to'])
  assert.deepEqual(new Set(told('revoked')), new Set(['out', 'relay']))
  assert.deepEqual(told('refused'), ['out', 'relay'], 'it tried both')
})

test('S2-18: zones that lose the network together can still call each other', async () => {
  const origin = `http://a.example:${world.ports.http}`
  const code = `
async function out(url) {
  try { return (await fetch(url)).status } catch { return 'refused' }
}
function count(n) { return n + 1 }
let last = await out('${origin}/open')
const first = last
for (let n = 0; n < 300 && last !== 'refused'; n++) {
  await new Promise((done) => setTimeout(done, 50))
  last = await out('${origin}/open')
}
return [first, last, await count(1), await out('${origin}/closed')]`
  const heard = asker()
  const { id, result, zones, timeline } = await run({
    code,
    network: { allow: [origin] },
    schedule: 'closing',
  })
  assert.deepEqual(zones?.made.map(({ name }) => name).sort(), ['count', 'out'])
  const denied = events.filter(({ point, run }) => point === 'egress/denied' && run === id)
  assert.ok(denied.some(({ zone }) => zone === 'out'))
  assert.deepEqual(result, [200, 'refused', 2, 'refused'], JSON.stringify(timeline))
  assert.deepEqual(heard(), new Set(['/open']))
  assert.deepEqual(
    timeline.filter(({ event }) => event === 'channel'),
    [],
  )
})

test('S2-11: rights that the program lacks in its first phase are in no zone', async () => {
  const origin = `http://a.example:${world.ports.http}`
  const heard = asker()
  const network = { allow: [origin] }
  const { result, zones } = await run({ code: sending(`${origin}/`), network, schedule: 'closed' })
  assert.equal(zones?.made.length, places.length)
  assert.deepEqual(new Set(result as readonly unknown[]), new Set(['refused']))
  assert.deepEqual(heard(), new Set())
})

test('S2-11: denials of a zone are reported under its name, and its conditions count them', async () => {
  const code = `
async function out(n) {
  try { await fetch('https://h' + n + '.example.org/'); return 'out' } catch (error) { return String(error.message) }
}
const all = []
for (let n = 0; n < 20; n++) {
  try { all.push(await out(n)) } catch (error) { return 'the zone is gone' }
  await new Promise((done) => setTimeout(done, 60))
}
return all.length`
  const network = { allow: ['https://api.example.com'] }
  const outcome = await run({ code, network, schedule: 'strict' })
  assert.equal(outcome.result, 'the zone is gone', JSON.stringify(outcome.zones))
  const cut = outcome.timeline.find(({ event }) => event === 'terminated')
  assert.deepEqual([cut?.zone, cut?.reason], ['out', 'terminate_if events["egress/denied"] > 2'])
  const denied = events.filter(({ point, run }) => point === 'egress/denied' && run === outcome.id)
  assert.ok(denied.length >= 3 && denied.every(({ zone }) => zone === 'out'))
  assert.equal(outcome.metrics.network.length, denied.length)
})
