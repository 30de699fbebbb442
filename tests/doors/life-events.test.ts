import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { assemble, type Assembly } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Event } from '../../src/contract/event.ts'
import type { JobRequest } from '../../src/contract/job.ts'
import type { StoredLine } from '../../src/evidence/chain.ts'
import { openLog } from '../../src/evidence/log-reader.ts'
import { newJob } from '../../src/job.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { inTime } from '../conformance/stand.ts'

/** Events of whole runs, emitted through the modules of the library. */
suite('Each step of a run is an event', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-life-events-'))
  const { config } = loadConfig({ object: { state: join(folder, 'state') }, env: {}, cwd: folder })
  const events: Event[] = []
  let assembly: Assembly
  let wardenPid = 0
  const lost = Promise.withResolvers<void>()

  before(async () => {
    const warden = await startWarden({ stateFolder: config.state })
    wardenPid = (await warden.facts()).pid
    const sinks = [
      (event: Event) => {
        events.push(event)
        if (event.point === 'warden/lost') lost.resolve()
      },
    ]
    // State after a warden that was killed.
    assembly = assemble({
      config,
      warden: { ...warden, swept: Promise.resolve(2) },
      kind: 'library',
      sinks,
    })
  })
  after(async () => {
    // The warden is gone by then.
    await Promise.allSettled([assembly[Symbol.asyncDispose]()])
    rmSync(folder, { recursive: true, force: true })
  })

  const run = (asked: JobRequest) => {
    const who = { tenant: 'default', principal: 'test', origin: 'library' } as const
    const { signal } = new AbortController()
    return assembly.run(newJob(asked, who, systemClock), { signal })
  }
  const linesOf = (id: string): readonly StoredLine[] => {
    using log = openLog(join(config.state, 'audit.db'))
    return log.last(100, id)
  }
  const pointsOf = (id: string) => events.filter((one) => one.run === id).map(({ point }) => point)

  test('from its profile to the destruction of its wall, with the receipt in the record', async () => {
    const { id, status, evidence } = await run({ code: 'console.log(1); return 2' })
    assert.equal(status, 'ok')
    assert.equal(evidence.bundle, null)
    const told = pointsOf(id)
    const expected = [
      'job/admitted',
      'profile/made',
      'pool/claimed',
      'tier/launched',
      'phase/opened',
      'seen/output',
      'phase/closed',
      'tier/destroyed',
      'job/ended',
    ] as const
    assert.deepEqual(
      told.filter((point) => (expected as readonly string[]).includes(point)),
      expected,
    )
    const { fields } = events.find(({ run: of, point }) => of === id && point === 'tier/destroyed')!
    assert.ok(Number(fields['freedBytes']) > 0)
    const lines = linesOf(id)
    assert.deepEqual(
      lines.map(({ kind }) => kind),
      ['admitted', 'ended'],
    )
    const { destroyed } = JSON.parse(lines[1]!.bodyText)
    for (const name of ['at', 'took', 'freedBytes', 'forced'])
      assert.deepEqual(destroyed[name], fields[name], name)
    assert.ok(Math.abs(destroyed.at - Date.now()) < 60_000, `${destroyed.at}`)
    assert.ok(destroyed.took >= 0 && destroyed.freedBytes > 0 && Array.isArray(destroyed.forced))
  })

  test('refused and truncated output; refused output also has a line of its run in the record', async () => {
    const output = { schema: { type: 'number' } }
    const refused = await run({ code: 'return "text"', output })
    assert.equal(refused.status, 'refused')
    assert.ok(pointsOf(refused.id).includes('output/refused'))
    const [, line, ended] = linesOf(refused.id)
    assert.equal(JSON.parse(line!.bodyText).point, 'output/refused')
    assert.deepEqual([line!.tenant, ended!.kind], ['default', 'ended'])
    const cut = await run({ code: 'console.log("x".repeat(5000))', limits: { output: 1000 } })
    assert.ok(cut.truncated.stdout)
    assert.ok(pointsOf(cut.id).includes('output/truncated'))
  })

  test('the start of the warden, its sweep, and its loss', async () => {
    const ofWarden = () => events.filter(({ point }) => point.startsWith('warden/'))
    assert.deepEqual(
      ofWarden().map(({ point, fields }) => [point, fields]),
      [
        ['warden/started', {}],
        ['warden/swept', { walls: 2 }],
      ],
    )
    process.kill(wardenPid, 'SIGKILL')
    await inTime(lost.promise, 'the loss of the warden')
    using log = openLog(join(config.state, 'audit.db'))
    const recorded = [...log.lines()].map(({ bodyText }) => JSON.parse(bodyText).point)
    assert.ok(recorded.includes('warden/swept') && recorded.includes('warden/lost'))
  })
})
