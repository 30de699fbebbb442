import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { happeningsMax } from '../../src/picture/events.js'
import { lifeOf } from '../../src/picture/life.js'
import { execsMax, pictureOf } from '../../src/picture/picture.js'
import { scaleOf } from '../../src/picture/scale.js'
import { svgOf } from '../../src/picture/svg.js'
import { linesOf } from '../../src/picture/terminal.js'
import { bytesText, durationText, plain } from '../../src/picture/words.js'
import { lives } from './sample-lives.ts'

const golden = join(import.meta.dirname, '../golden/pictures')
const bare = (_: string, text: string) => text
const textOf = (name: string) =>
  `${linesOf(pictureOf(lives[name]!), { columns: 100, paint: bare }).join('\n')}\n`

/** MAYFLY_GOLDEN=write accepts changes; review them in the diff. */
function assertAsAgreed(file: string, made: string): void {
  const path = join(golden, file)
  if (process.env['MAYFLY_GOLDEN'] === 'write') {
    mkdirSync(golden, { recursive: true })
    writeFileSync(path, made)
  }
  assert.equal(made, readFileSync(path, 'utf8'))
}

suite('Pictures match their goldens', () => {
  for (const name of Object.keys(lives)) {
    test(`In a terminal: ${name}`, () => assertAsAgreed(`${name}.txt`, textOf(name)))
    test(`As SVG: ${name}`, () => assertAsAgreed(`${name}.svg`, svgOf(pictureOf(lives[name]!))))
  }
})

test('S2-15: a phase cut short by an anomaly shows the cut and the reason', () => {
  const [full, next] = pictureOf(lives['anomaly']!).lanes[0]!.bands
  assert.equal(full!.planned, 10_000)
  assert.ok(Math.abs(full!.cut!.lost - 3995.7) < 0.01)
  assert.match(full!.cut!.why, /It read a credential/)
  assert.equal(full!.cut!.isAnomaly, true)
  assert.match(next!.cut!.why, /tried to send/)
})

test('Phases that ran to their end, and code that ended by itself, are not drawn as cut', () => {
  for (const name of ['quiet', 'denied', 'timeout', 'under-way'])
    for (const { bands } of pictureOf(lives[name]!).lanes)
      for (const { cut } of bands) assert.equal(cut, undefined, name)
})

test("A control's bar changes when the wall has closed it, with the time that took", () => {
  const [row] = pictureOf(lives['denied']!).lanes[0]!.rows
  assert.deepEqual(
    row!.spans.map(({ from, state, text, took }) => [from, state, text, took]),
    [
      [0, 'narrowed', 'api.example.com', undefined],
      [403.1, 'closed', 'none', 2.8],
    ],
  )
})

test('Each exec of a session is drawn where it ran, and a flood of them is bounded', () => {
  const session = lives['session']!
  const { execs, sums } = pictureOf(session)
  assert.deepEqual(
    execs.map(({ from, tone }) => [from, tone]),
    [
      [2000, 'good'],
      [60_000, 'bad'],
      [200_000, 'warn'],
      [390_000, 'good'],
    ],
  )
  assert.deepEqual(sums[0], ['execs', '4 (2 not ok)'])
  const flood = Array.from({ length: 5000 }, (_, n) => ({ from: n, to: n + 1, status: 'ok' }))
  const picture = pictureOf({ ...session, execs: flood })
  assert.deepEqual([picture.execs.length, picture.execs.at(-1)!.from], [execsMax, 4999])
  assert.deepEqual(picture.sums[0], ['execs', '5,000'])
})

test('Each zone has its own lane, controls and end', () => {
  const [main, zone] = pictureOf(lives['zones']!).lanes
  assert.deepEqual([main!.zone, zone!.zone], ['main', 'input-validation'])
  assert.deepEqual(
    zone!.bands.map(({ name, from, to }) => [name, from, to]),
    [['brief', 3, 203]],
  )
  assert.deepEqual(main!.frozen, [{ from: 700, to: 1100 }])
  assert.deepEqual(zone!.frozen, [])
})

test('Thousands of equal events are drawn once, with their count', () => {
  const { happenings } = pictureOf(lives['denied']!)
  assert.deepEqual(
    happenings.map(({ kind, count }) => [kind, count]),
    [
      ['tightened', 1],
      ['denied', 500],
    ],
  )
})

test('Thousands of different events are condensed to a few lines, and the end stays separate', () => {
  const { timeline, ...life } = lives['quiet']!
  const mixed = Array.from({ length: 4000 }, (_, n) => ({
    at: n,
    zone: 'main',
    event: n % 2 ? 'denied' : 'anomaly',
    reason: `reason ${n}`,
  }))
  const end = { at: 4001, zone: 'main', event: 'terminated', reason: 'enough' }
  const { happenings } = pictureOf({ ...life, timeline: [...timeline, ...mixed, end] })
  assert.equal(happenings.length, happeningsMax)
  assert.equal(
    happenings.reduce((sum, { count }) => sum + count, 0),
    4001,
  )
  assert.deepEqual([happenings.at(-1)!.kind, happenings.at(-1)!.count], ['terminated', 1])
})

test('A few anomalies in a flood of other events are drawn one by one', () => {
  const { timeline, ...life } = lives['quiet']!
  const flood = Array.from({ length: 900 }, (_, n) => ({
    at: n,
    zone: 'main',
    event: n % 300 === 150 ? 'anomaly' : ['denied', 'captured', 'channel'][n % 3]!,
    reason: `reason ${n}`,
  }))
  const { happenings } = pictureOf({ ...life, timeline: [...timeline, ...flood] })
  const told = happenings.filter(({ kind }) => kind === 'anomaly')
  assert.deepEqual(
    told.map(({ at, count, text: said }) => [at, count, said]),
    [150, 450, 750].map((at) => [at, 1, `reason ${at}`]),
  )
  const largest = Math.max(...happenings.map(({ count }) => count))
  assert.ok(largest < 300, `${largest} in one line`)
})

test('Lives of a millisecond and of ten minutes have readable, round tick marks', () => {
  for (const [age, first, last] of [
    [1, '0.2 ms', '1 ms'],
    [37, '10 ms', '30 ms'],
    [6442, '2 s', '6 s'],
    [600_000, '2 min', '10 min'],
  ] as const) {
    const { ticks } = scaleOf({ age, plannedEnd: age, isOver: true, lanes: [] }, 5)
    assert.deepEqual([ticks[0]!.text, ticks[1]!.text, ticks.at(-1)!.text], ['0', first, last])
  }
})

test('Phases planned long after the end do not compress the picture', () => {
  const { placeOf, knee } = scaleOf({ age: 2, plannedEnd: 5000, isOver: true, lanes: [] })
  assert.equal(knee, 2)
  assert.ok(placeOf(2) > 0.5 && placeOf(2) < 1)
  assert.equal(placeOf(5000), 1)
})

test('An outcome is drawn with its planned phases, taken from its reasons', () => {
  const explain = [
    { field: 'controls.network', value: { allow: ['https://a.example:443'], deny: [] } },
    { field: 'controls.cpu', value: 1 },
    {
      field: 'schedule.phases',
      value: ['full 300 ms, or until x > 2 ms', 'a phase of 2 ms 200 ms'],
    },
    { field: 'schedule.closes', value: [{}, { network: { allow: [], deny: [] } }] },
    { field: 'limits.timeout', value: 400 },
  ]
  const life = lifeOf({
    status: 'timeout',
    tier: 'process',
    provider: 'bubblewrap',
    error: { code: 'TIMEOUT', message: 'The time to run was over' },
    stdout: 'é',
    stderr: '',
    timeline: [{ at: 0, zone: 'main', event: 'phase', phase: 'full' }],
    profile: { explain },
    metrics: { executionTime: 400, cpuTime: 1, network: [] },
  })
  assert.deepEqual(life.plan.phases, [
    { name: 'full', for: 300, controls: {} },
    { name: 'a phase of 2 ms', for: 200, controls: { network: { allow: [], deny: [] } } },
  ])
  assert.equal(life.out, 2)
  const { lanes, plannedEnd } = pictureOf(life)
  assert.equal(plannedEnd, 400)
  assert.deepEqual(
    lanes[0]!.planned.map(({ from, to, share }) => [from, to, share]),
    [
      [0, 300, 1],
      [300, 400, 0],
    ],
  )
})

test('Times and sizes have readable units', () => {
  assert.deepEqual(
    [0, 0.04, 0.44, 9.96, 12.4, 999.6, 1000, 59_996, 61_000, 3_600_000, 3_780_000].map(
      durationText,
    ),
    [
      '0 ms',
      '< 0.1 ms',
      '0.4 ms',
      '10 ms',
      '12 ms',
      '1 s',
      '1 s',
      '1 min',
      '1 min 1 s',
      '1 h',
      '1 h 3 min',
    ],
  )
  assert.deepEqual([0, 1023, 1024, 1536, 128 * 2 ** 20].map(bytesText), [
    '0 B',
    '1023 B',
    '1 KB',
    '1.5 KB',
    '128 MB',
  ])
})

test('A long reason is shown whole at any width, also one word that fits on no line', () => {
  const reason = `It read ${'/a-long-folder/of/the/job'.repeat(7)} and sent it to https://collector.example/`
  const { timeline, ...life } = lives['anomaly']!
  const told = timeline.map((entry) => (entry.reason ? { ...entry, reason } : entry))
  const picture = pictureOf({ ...life, reason, timeline: told })
  const squeezed = (text: string) => text.replaceAll(/\s/g, '')
  // Beside the entries with a reason: the headline, and both cut phases.
  const places = told.filter((entry) => entry.reason).length + 3
  for (const width of [360, 700, 1600]) {
    const shown = svgOf(picture, { width }).replace(/<desc>.*<\/desc>/, '')
    const texts = [...shown.matchAll(/<text[^>]*>([^<]*)/g)].map(([, text]) => text!)
    assert.equal(squeezed(texts.join('')).split(squeezed(reason)).length - 1, places, `${width}`)
  }
  for (const columns of [40, 80, 160]) {
    const shown = squeezed(linesOf(picture, { columns, paint: bare }).join(''))
    assert.equal(shown.split(squeezed(reason)).length - 1, places, `${columns}`)
  }
})

test('Foreign text is one line without control characters, bidi overrides and stacked marks', () => {
  assert.equal(plain('\x1b[2Jgone\r\nnext'), '\\x1b[2Jgone next')
  assert.equal(plain('\u202eabc'), '\\u202eabc')
  assert.equal(plain(`a${'\u0301'.repeat(50)}`), 'a\u0301\u0301')
  assert.equal(plain('\ud800'), '\ufffd')
  assert.equal(Array.from(plain('x'.repeat(1e6))).length, 120)
  assert.equal(plain(undefined), '')
})
