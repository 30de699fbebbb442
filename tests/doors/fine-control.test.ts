import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { assemble, type Assembly } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import { newJob } from '../../src/job.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { openWorld, type World } from '../fixtures/egress.ts'

/** Limits of a function, a host, a path and a byte count in one configuration; the guest tries to break each. */
const sentMax = 4096

/** Validates its input in an endless loop; then requests an allowed path, another path, another host, and too many bytes. */
const program = `
function validateName(name) { for (;;) name = name + 1 }
const said = {}
try { await validateName(input.name) } catch (error) { said.checked = error.message }
async function ask(url) {
  try { return (await fetch(url)).status } catch (error) { return error.message }
}
said.path = await ask(input.base + '/v1/users')
said.otherPath = await ask(input.base + '/v2/users')
said.otherHost = await ask(input.other + '/v1/users')
let asked = 0
for (; asked < 100; asked++) {
  const answer = await ask(input.base + '/v1/' + 'x'.repeat(400))
  if (answer !== 200) { said.budget = answer; break }
}
said.asked = asked
return said`

suite('Fine control', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-fine-'))
  let world: World
  let assembly: Assembly
  before(async () => {
    world = await openWorld()
    const { config } = loadConfig({ object: configured(), env: {}, cwd: folder })
    const warden = await startWarden({ stateFolder: config.state })
    const dial = { resolver: () => Promise.resolve(['127.0.0.1']), exceptions: world.exceptions }
    assembly = assemble({ config, warden, kind: 'library', dial })
  })
  after(async () => {
    await assembly[Symbol.asyncDispose]()
    await world[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  function configured() {
    const { http } = world.ports
    const network = { allow: [`GET http://a.example:${http}/v1/*`], sent: sentMax, received: '1MB' }
    const brief = [{ name: 'brief', for: '300ms', network: 'none' }] as const
    const zones = { 'input-validation': { phases: [...brief] } }
    const phases = [{ name: 'full', for: '20s' }]
    return { state: join(folder, 'state'), network, schedules: { default: { phases, zones } } }
  }

  test('S2-28: one configuration limits a function, a host, a path and a number of bytes', async () => {
    const { http } = world.ports
    const input = { name: 1, base: `http://a.example:${http}`, other: `http://b.example:${http}` }
    const who = { tenant: 'default', principal: 'library', origin: 'library' } as const
    const job = newJob({ code: program, input }, who, systemClock)
    const caller = { signal: new AbortController().signal, tap: undefined }
    const outcome = await assembly.run(job, caller)
    assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error))
    const said = outcome.result as Record<string, unknown>
    assert.equal(said['checked'], 'Cannot call "validateName": its zone has ended')
    assert.equal(said['path'], 200)
    assert.match(String(said['otherPath']), /allowed with another method or path only/)
    assert.match(String(said['otherHost']), /no rule allows/)
    assert.match(String(said['budget']), /bytes that this run may send are used up/)
    const sent = outcome.metrics.network.reduce((sum, one) => sum + one.sent, 0)
    assert.ok(sent <= sentMax && (said['asked'] as number) > 0, `${sent}`)
    const lines = world.heard.map(({ line }) => line)
    assert.ok(lines.includes('GET /v1/users') && !lines.includes('GET /v2/users'))
    assert.ok(world.heard.every(({ headers }) => headers.host?.startsWith('a.example')))
  })
})
