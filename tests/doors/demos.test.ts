import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { after, before, suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { assertInTime, untilInTime } from '../fixtures/lateness.ts'
import { documentOf, makePlace, mayfly, type Place } from './program.ts'

/** The demonstrations, run by the documented commands. */
const examples = fileURLToPath(new URL('../../examples/', import.meta.url))
/** Allowed lateness of a phase change, on top of the scheduling delay of the machine. */
const lateMsMax = 100
/** The sentence of the promise as a configuration, and when its lines of a timeline are due. */
const sentence = `[schedules.default]
phases = [{ name = "full", for = "5s" }, { name = "no-network", for = "10s", network = "none" }]
`
const planned = new Map([
  ['tightened', 5_000],
  ['terminated', 15_000],
])
const sleepers = [
  ['isolate', 'sleeps.js', 'for (;;) await new Promise((done) => setTimeout(done, 100))'],
  ['process', 'sleeps.py', 'import time\nwhile True: time.sleep(0.1)'],
] as const
const needsPython = { skip: process.platform !== 'linux' && 'programs need Linux' }

suite('The demonstrations', { concurrency: 3 }, () => {
  let place: Place
  before(() => {
    place = makePlace()
  })
  after(() => place.remove())

  const run = async (file: string, ...more: readonly string[]) => {
    const config = `${examples}${file.split('/')[0]}/mayfly.toml`
    const args = ['run', `${examples}${file}`, '--config', config, '--timeout', '20s', '--json']
    return documentOf(await mayfly(place, [...args, ...more]))
  }

  test(
    'S2-27: A program that behaves for six seconds and then exfiltrates a credential is terminated, with the reason in the timeline',
    needsPython,
    async () => {
      const outcome = await run('late/late.py')
      assert.deepEqual([outcome['status'], outcome['tier']], ['terminated', 'process'])
      // With a sentinel it is terminated when it opens the credential, otherwise when it prints the planted secret.
      assert.match(outcome['error'].message, /planted secret|\.aws\/credentials/)
      const reports = Array.from({ length: 6 }, (_, n) => `report ${n}: \\d+\\s*`)
      assert.match(outcome['stdout'], new RegExp(`^${reports.join('')}$`))
      const anomaly = (outcome['timeline'] as any[]).find(({ event }) => event === 'anomaly')
      assert.equal(anomaly.fields.name, 'sensitive-data')
      assert.ok(anomaly.at >= 6_000)
    },
  )

  test('S2-27: An isolate that behaves at first and then tries host after host is terminated', async () => {
    const outcome = await run('late/late.js', '--allow', 'api.example.com')
    assert.deepEqual([outcome['status'], outcome['tier']], ['terminated', 'isolate'])
    assert.match(outcome['error'].message, /refusals within/)
    const names = (outcome['timeline'] as any[]).flatMap(({ fields }) => fields?.name ?? [])
    assert.ok(names.includes('late-activity') && names.includes('denied-burst'), names.join())
  })

  for (const [tier, file, code] of sleepers)
    test(
      `S2-9: Five seconds of everything, ten without network, then the end: as TOML, in a wall of tier ${tier}`,
      needsPython,
      async (t) => {
        const told: string[] = []
        const timesOf = ({ timeline }: Record<string, any>) =>
          (timeline as any[]).flatMap(({ event, at }) => (planned.has(event) ? [at as number] : []))
        const isInTime = (one: Record<string, any>, late: number) => {
          const times = timesOf(one)
          told.push(`${times.join()} beside ${late} ms`)
          return times.every((at, index) => at <= [...planned.values()][index]! + lateMsMax + late)
        }
        writeFileSync(join(place.cwd, 'mayfly.toml'), sentence)
        writeFileSync(join(place.cwd, file), code)
        const grant = ['--allow', 'http://api.example.com:80']
        const args = [
          'run',
          file,
          '--config',
          'mayfly.toml',
          ...grant,
          '--timeout',
          '20s',
          '--json',
        ]
        const live = async () => documentOf(await mayfly(place, args))
        const { value: outcome, lateMs } = await untilInTime(t, live, isInTime)
        t.diagnostic(told.join('; '))
        assert.deepEqual([outcome['status'], outcome['tier']], ['timeout', tier])
        const lines = (outcome['timeline'] as any[]).filter(({ event }) => planned.has(event))
        assert.deepEqual(
          lines.map(({ event, controls }) => [event, controls?.network]),
          [
            ['tightened', { allow: [], deny: [] }],
            ['terminated', undefined],
          ],
        )
        const times = timesOf(outcome)
        for (const [index, plannedMs] of [...planned.values()].entries())
          assertInTime(`line ${index}`, times[index]!, { plannedMs, lateMsMax, lateMs })
      },
    )

  test(
    'S2-1: A program has its grants for five seconds, then no network, then half a core, and then ends',
    needsPython,
    async (t) => {
      const planned = [5_000, 8_000, 10_000]
      const changesOf = ({ timeline }: Record<string, any>) =>
        (timeline as any[]).flatMap((line) =>
          ['tightened', 'terminated'].includes(line.event) ? [line.at as number] : [],
        )
      const told: string[] = []
      const isInTime = (one: Record<string, any>, late: number) => {
        const at = changesOf(one)
        told.push(`${at.join()} beside ${late} ms`)
        return at.every((ms, index) => ms <= planned[index]! + lateMsMax + late)
      }
      const life = () => run('shrinking/shrinking.py', '--allow', 'http://api.example.com:80')
      const { value: outcome, lateMs } = await untilInTime(t, life, isInTime)
      t.diagnostic(told.join('; '))
      assert.deepEqual([outcome['status'], outcome['tier']], ['timeout', 'process'])
      const at = changesOf(outcome)
      assert.equal(at.length, 3)
      for (const [index, plannedMs] of planned.entries())
        assertInTime(`change ${index}`, at[index]!, { plannedMs, lateMsMax, lateMs })
      const closed = (outcome['timeline'] as any[])
        .filter(({ event }) => event === 'tightened')
        .map(({ phase, controls }) => [phase, controls])
      assert.deepEqual(closed, [
        ['no-network', { network: { allow: [], deny: [] } }],
        ['half-a-core', { cpu: 0.5 }],
      ])
      const lines = (outcome['stdout'] as string).trim().split('\n')
      const network = (line: string) => line.includes('let out')
      assert.ok(network(lines[0]!) && !network(lines.at(-1)!), outcome['stdout'])
      assert.ok(
        lines.findLastIndex(network) < lines.findIndex((line) => line.includes('network: refused')),
      )
    },
  )
})
