import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test, type TestContext } from 'node:test'
import { assemble, type Assembly } from '../../src/assemble.ts'
import { proposals } from '../../src/cli/policy-propose.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { JobRequest } from '../../src/contract/job.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import { newJob } from '../../src/job.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { runsToLearn } from '../../src/temporal/baseline.ts'

suite('Lives behind real walls are watched', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-anomalies-'))
  const object = { state: join(folder, 'state'), anomalies: { honeytokens: true } }
  const { config } = loadConfig({ object, env: {}, cwd: folder })
  let assembly: Assembly

  before(async () => {
    const warden = await startWarden({ stateFolder: config.state })
    assembly = assemble({ config, warden, kind: 'library' })
  })
  after(async () => {
    await assembly[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const run = (asked: JobRequest): Promise<Outcome> => {
    const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
    const { signal } = new AbortController()
    return assembly.run(newJob(asked, who, systemClock), { signal })
  }
  const anomalies = ({ timeline }: Outcome) =>
    timeline.flatMap(({ event, fields }) => (event === 'anomaly' ? [fields?.['name']] : []))

  test('S2-16: An isolate that tries one host after the other is ended', async () => {
    const code = `let refused = 0
      for (let n = 0; n < 1000; n++) {
        try { await fetch('https://h' + n + '.example.org/') } catch { refused++ }
      }
      return refused`
    const outcome = await run({ code, network: { allow: ['api.example.com'] } })
    assert.deepEqual([outcome.status, outcome.result], ['terminated', null])
    assert.deepEqual(anomalies(outcome), ['denied-burst', 'denied-burst'])
    assert.equal(outcome.timeline.at(-1)?.event, 'terminated')
  })

  test('S2-27: A program that behaves at first and then prints a credential in another form is stopped without a signature', async (t) => {
    if (await isMissing('python', t)) return
    const code = [
      'import base64, os, time',
      'print("calm", flush=True)',
      'time.sleep(0.5)',
      'data = open(os.path.expanduser("~/.aws/credentials"), "rb").read()',
      'print(base64.b64encode(data).decode(), flush=True)',
      'time.sleep(30)',
    ].join('\n')
    const outcome = await run({ code, language: 'python', limits: { timeout: '20s' } })
    assert.deepEqual([outcome.status, outcome.stdout], ['terminated', 'calm\n'])
    assert.deepEqual(anomalies(outcome), ['sensitive-data'])
  })

  test('An honest program beside false credentials ends as it would without them', async (t) => {
    if (await isMissing('python', t)) return
    const code = 'import os\nprint(sorted(os.listdir()))\nresult = 42'
    const outcome = await run({ code, language: 'python' })
    assert.deepEqual([outcome.status, outcome.result, anomalies(outcome)], ['ok', 42, []])
  })

  test('S2-19: What an effect does is learned from its first runs, and becomes a policy no looser than the one in force', async () => {
    const effect = { effectId: 'double', code: 'return input * 2', input: 21 }
    for (let time = 0; time < runsToLearn; time++) assert.equal((await run(effect)).result, 42)
    const [proposed] = proposals(config, { effect: 'double' })
    assert.equal(proposed?.subject, 'effect:double')
    assert.deepEqual(proposed.controls.network, { allow: [], deny: [] })
    assert(proposed.controls.memory <= config.limits.memory)
    assert.match(proposed.toml, /\[schedules\."double-used"\]/)
  })

  /** Skips by name where no wall here runs the language, and fails where everything ought to be there. */
  async function isMissing(language: 'python', t: TestContext): Promise<boolean> {
    const all = await assembly.providers()
    const isThere = all.some(
      ({ provider, availability }) =>
        availability.available && provider.name !== 'mock' && provider.languages.includes(language),
    )
    if (isThere) return false
    assert.notEqual(process.env['CI'], 'true', `no wall runs ${language}`)
    t.skip(`no wall here runs ${language}`)
    return true
  }
})
