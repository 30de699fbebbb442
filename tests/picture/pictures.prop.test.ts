import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { allControls, controlsBeyond, meet, type Controls } from '../../src/contract/controls.ts'
import { timelineWord } from '../../src/contract/event.ts'
import { drawnControls } from '../../src/picture/controls.js'
import { happeningsMax } from '../../src/picture/events.js'
import { planOf, type Entry, type Life } from '../../src/picture/life.js'
import { lanesMax, pictureOf } from '../../src/picture/picture.js'
import { scaleOf } from '../../src/picture/scale.js'
import { svgOf } from '../../src/picture/svg.js'
import { linesOf, columnsOf } from '../../src/picture/terminal.js'

const svgCharsMax = 2 ** 19
const linesMax = 500

const text = fc.oneof(
  fc.constantFrom(
    'main',
    'full',
    '</svg><script>',
    '"\'&<>',
    '\x1b[2J',
    '\u202e',
    'ｆｕｌｌ',
    '🦋',
  ),
  fc.string({ unit: 'binary', maxLength: 400 }),
)
const number = fc.oneof(
  fc.double({ min: 0, max: 1e6, noNaN: true }),
  fc.integer({ min: 0, max: 20 }),
  fc.double(),
)
const value = fc.oneof(
  fc.constantFrom('none', 'open', 'any', 'unlimited', null, 0, 1, Number.MAX_SAFE_INTEGER),
  fc.array(text, { maxLength: 5 }),
  fc.record({ allow: fc.array(text, { maxLength: 3 }), deny: fc.array(text, { maxLength: 2 }) }),
  fc.record({ read: fc.array(text, { maxLength: 3 }), write: fc.constant([]) }),
  fc.jsonValue(),
)
const controls = fc.dictionary(fc.oneof(fc.constantFrom(...drawnControls), text), value, {
  maxKeys: 6,
})
const entry: fc.Arbitrary<Entry> = fc.record(
  {
    at: number,
    zone: fc.oneof(fc.constant('main'), fc.constantFrom('a', 'b'), text),
    event: fc.oneof(fc.constantFrom<string>(...timelineWord.options), text),
    phase: text,
    controls,
    took: number,
    reason: text,
    fields: fc.dictionary(text, fc.jsonValue(), { maxKeys: 6 }),
  },
  { requiredKeys: ['at', 'zone', 'event'] },
)
const life: fc.Arbitrary<Life> = fc.record(
  {
    status: fc.oneof(fc.constantFrom('running', 'ok', 'terminated', 'timeout'), text),
    reason: text,
    wall: text,
    plan: fc.record({
      controls,
      phases: fc.array(fc.record({ name: text, for: number, controls }), { maxLength: 70 }),
      msMax: fc.oneof(number, fc.constant(Infinity)),
    }),
    timeline: fc.oneof(
      fc.array(entry, { maxLength: 12 }),
      fc.array(entry, { minLength: 30, maxLength: 100 }),
    ),
    age: number,
    out: number,
    cpu: number,
    memory: number,
    network: fc.array(
      fc.record({ host: text, port: number, verdict: text, sent: number, received: number }),
      { maxLength: 5 },
    ),
  },
  { requiredKeys: ['status', 'wall', 'plan', 'timeline', 'age', 'network'] },
)

/** Allowlist of SVG elements and attributes: any others would be injected. */
const tag =
  /^<(?:svg|title|desc|style|defs|pattern|path|rect|g|text|tspan|circle)(?: [a-zA-Z:-]+="[^"<&]*")*\/?>/
const closing = /^<\/(\w+)>/
/** Characters allowed by XML 1.0. */
const isText =
  /^(?:&#\d+;|[\t\n\r\u0020-\u0025\u0027-\u003b\u003d-\ud7ff\ue000-\ufffd]|[\u{10000}-\u{10ffff}])*$/u

function assertWellFormed(svg: string): void {
  const open: string[] = []
  for (let rest = svg; rest !== '';) {
    const at = rest.indexOf('<')
    const before = at === -1 ? rest : rest.slice(0, at)
    assert.match(before, isText)
    if (at === -1) break
    rest = rest.slice(at)
    const [found, name] = closing.exec(rest) ?? tag.exec(rest) ?? []
    assert.ok(found !== undefined, `no element of ours: ${rest.slice(0, 80)}`)
    if (name !== undefined) assert.equal(name, open.pop())
    else if (!found.endsWith('/>')) open.push(/\w+/.exec(found)![0])
    rest = rest.slice(found.length)
  }
  assert.deepEqual(open, [])
}

test('Any life becomes an SVG of bounded size without injected markup', () => {
  fc.assert(
    fc.property(life, fc.integer({ min: 0, max: 3000 }), (told, width) => {
      const svg = svgOf(pictureOf(told), { width })
      assert.ok(svg.length < svgCharsMax, `${svg.length} characters`)
      assertWellFormed(svg)
      assert.doesNotMatch(withoutText(svg), /NaN|Infinity|undefined(?=")/)
    }),
    { numRuns: 60 },
  )
})

/** Foreign text may contain NaN; coordinates may not. */
function withoutText(svg: string): string {
  return svg.replaceAll(/>[^<]+</g, '><')
}

/** Merged events from 9 ms to 11 hours: their times and their word take more than the narrowest line. */
const longSpan: Life = {
  status: 'running',
  wall: '',
  plan: { controls: {}, phases: [], msMax: 0 },
  age: 0,
  network: [],
  timeline: [
    ...[9.05, 40_170_000].map((at) => ({ at, zone: 'a', event: 'tightened' })),
    ...Array.from({ length: 30 }, (_, at) => ({ at: 0, zone: 'main', event: at % 2 ? 'x' : 'y' })),
  ],
}

test('Any life becomes terminal lines of bounded width without cursor controls', () => {
  fc.assert(
    fc.property(life, fc.integer({ min: 1, max: 300 }), (told, columns) => {
      const lines = linesOf(pictureOf(told), { columns, paint: (_, said) => said })
      assert.ok(lines.length < linesMax, `${lines.length} lines`)
      for (const line of lines) {
        assert.doesNotMatch(line, /[\p{Cc}\p{Bidi_Control}]/u)
        assert.ok(columnsOf(line) < Math.max(40, columns), `${columnsOf(line)}: ${line}`)
      }
    }),
    { numRuns: 60, examples: [[longSpan, 1]] },
  )
})

test('Bands, spans and happenings are in order of time and within the picture', () => {
  fc.assert(
    fc.property(life, number, number, (told, a, b) => {
      const picture = pictureOf(told)
      const { placeOf, ticks } = scaleOf(picture)
      const [early, late] = [Math.min(a, b), Math.max(a, b)]
      if (!Number.isNaN(early + late)) assert.ok(placeOf(early) <= placeOf(late))
      for (const at of [0, early || 0, picture.age, picture.plannedEnd, ...ticks.map((t) => t.at)])
        assert.ok(placeOf(at) >= 0 && placeOf(at) <= 1)
      assert.ok(picture.lanes.length <= lanesMax)
      for (const { bands, rows, shape } of picture.lanes)
        for (const stretches of [bands, shape, ...rows.map(({ spans }) => spans)])
          for (const [n, { from, to }] of stretches.entries()) {
            assert.ok(from <= to)
            assert.ok(n === 0 || from >= stretches[n - 1]!.to || from === stretches[n - 1]!.from)
          }
    }),
    { numRuns: 60 },
  )
})

test('Every event is drawn or counted', () => {
  fc.assert(
    fc.property(life, (told) => {
      const { happenings } = pictureOf(told)
      const known: readonly string[] = timelineWord.options.filter((word) => word !== 'phase')
      const events = told.timeline.filter(({ event }) => known.includes(event))
      assert.ok(happenings.length <= happeningsMax)
      assert.equal(
        happenings.reduce((sum, { count }) => sum + count, 0),
        events.length,
      )
    }),
  )
})

const names = ['a', 'b', 'c']
const some: fc.Arbitrary<Controls> = fc.record({
  network: fc.record({
    allow: fc.oneof(fc.constant('any' as const), fc.subarray(['https://a.example:443'])),
    deny: fc.constant([]),
  }),
  files: fc.record({ read: fc.subarray(['/', '/a']), write: fc.subarray(['/', '/a']) }),
  cpu: fc.constantFrom(0.25, 0.5, 1),
  memory: fc.constantFrom(0, 2 ** 20, 2 ** 30),
  io: fc.constantFrom(0, 2 ** 20, Number.MAX_SAFE_INTEGER),
  processes: fc.constantFrom(1, 2, 64),
  syscalls: fc.oneof(fc.constant('any' as const), fc.subarray(names)),
  capabilities: fc.oneof(fc.constant('any' as const), fc.subarray(names)),
})

test('S2-26: a life that only tightens is drawn as a shape that only narrows', () => {
  let narrower = 0
  fc.assert(
    fc.property(some, fc.array(some, { minLength: 1, maxLength: 6 }), (granted, asked) => {
      let before = meet(allControls, granted)
      const phases = asked.map((wanted, n) => {
        before = meet(before, wanted)
        return { name: `phase-${n}`, for: 100, controls: before }
      })
      const timeline = phases.flatMap(({ name, controls: held }, n): Entry[] => {
        const last = phases[n - 1]?.controls ?? granted
        const closed = controlsBeyond(last, held).map((control) => [control, held[control]])
        return [
          { at: n * 100, zone: 'main', event: 'phase', phase: name },
          {
            at: n * 100 + 2,
            zone: 'main',
            event: 'tightened',
            controls: Object.fromEntries(closed),
            took: 2,
          },
        ]
      })
      const plan = planOf({
        controls: granted,
        schedule: { phases },
        limits: { timeout: 100 * phases.length },
      })
      const age = 100 * phases.length
      const told = { status: 'timeout', wall: '', plan, timeline, age, network: [] }
      const [lane] = pictureOf(told).lanes
      for (const shape of [lane!.shape, lane!.planned])
        for (const [n, { share }] of shape.entries())
          assert.ok(n === 0 || share <= shape[n - 1]!.share + 1e-9)
      if (lane!.shape.at(-1)!.share < lane!.shape[0]!.share) narrower++
      for (const { spans } of lane!.rows)
        for (const [n, { share }] of spans.entries())
          assert.ok(n === 0 || share <= spans[n - 1]!.share)
    }),
  )
  // A shape that never changes would pass too.
  assert.ok(narrower > 0)
})
