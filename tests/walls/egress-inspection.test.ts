import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assemble } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import { jobRequest } from '../../src/contract/job.ts'
import { newJob } from '../../src/job.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { suite, test } from '../fixtures/drawn.ts'
import { openWorld, type World } from '../fixtures/egress.ts'
import { unable } from './process-stands.ts'

/** A program that requests the allowed host, and another host inside the same TLS connection. */
const fronting = `import ssl, urllib.error, urllib.request
def main(input):
    said = []
    for host in input['hosts']:
        request = urllib.request.Request(input['url'], headers={'Host': host})
        try: said.append(urllib.request.urlopen(request, context=ssl._create_unverified_context()).status)
        except urllib.error.HTTPError as error: said.append(error.code)
    return said`

suite('S1-8: inspection of TLS by the configuration', { skip: unable('python') }, () => {
  for (const { inspect, statuses } of [
    { inspect: 'all', statuses: [200, 400] },
    { inspect: 'needed', statuses: [200, 200] },
  ])
    test(`"${inspect}": one host inside TLS, and another, are answered ${statuses.join(' and ')}`, async () => {
      await using world = await openWorld()
      const { outcome, hosts } = await run(world, { inspect })
      assert.deepEqual(outcome.result, statuses, outcome.error?.message ?? outcome.stderr)
      const asked = world.heard.map(({ headers }) => headers.host)
      assert.deepEqual(asked, inspect === 'all' ? hosts.slice(0, 1) : hosts)
    })
})

async function run(world: World, egress: object) {
  const state = mkdtempSync(join(tmpdir(), 'mayfly-inspection-'))
  const { config } = loadConfig({ object: { state, egress, escalation: {} }, env: {}, cwd: state })
  const warden = await startWarden({ stateFolder: state })
  try {
    await using assembly = assemble({
      config,
      warden,
      kind: 'library',
      dial: {
        resolver: () => Promise.resolve(['127.0.0.1']),
        exceptions: world.exceptions,
        trust: [world.authority.pem],
      },
    })
    const [host, other] = ['a.example', 'b.example'].map((name) => `${name}:${world.ports.https}`)
    const hosts = [host!, other!]
    const input = { url: `https://${host}/x`, hosts }
    const network = { allow: [`https://${host}`] }
    const asked = jobRequest.parse({
      language: 'python',
      code: fronting,
      input,
      network,
      limits: { timeout: '60s' },
    })
    const { signal } = new AbortController()
    const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
    return { outcome: await assembly.run(newJob(asked, who, systemClock), { signal }), hosts }
  } finally {
    for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
  }
}
