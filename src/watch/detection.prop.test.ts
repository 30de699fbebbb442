import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import {
  isAtLeast,
  type Anomaly,
  type Observation,
  type ObservedFact,
} from '../contract/anomaly.ts'
import { defaultThresholds } from '../contract/thresholds.ts'
import { nothingForeseen } from '../../tests/fixtures/traces/script.ts'
import { withRun, noBaseline, runsToLearn } from './baseline.ts'
import { withObservation, noTrail } from './trail.ts'
import { anomaliesMax, observe, initialDetection, type DetectionState } from './detection.ts'

const text = fc.constantFrom('a', 'b', 'c2.example.org', 'kernel', 'file', '/etc/shadow', '/work/x')
const size = fc.integer({ min: 0, max: 200 * 2 ** 20 })
const denied = fc.boolean()
const seen: fc.Arbitrary<ObservedFact> = fc.oneof(
  fc.record({ kind: fc.constant('syscall' as const), class: text, count: fc.nat(1000), denied }),
  fc.record({ kind: fc.constant('exec' as const), path: text, denied }),
  fc.record({
    kind: fc.constant('open' as const),
    path: text,
    access: fc.constantFrom('read' as const, 'write' as const),
    denied,
  }),
  fc.record({
    kind: fc.constant('connect' as const),
    host: text,
    port: fc.nat(65_535),
    sent: size,
    received: size,
    denied,
  }),
  fc.record({ kind: fc.constant('capability' as const), name: text, denied }),
  fc.record({ kind: fc.constant('processes' as const), now: fc.nat(200) }),
  fc.record({ kind: fc.constant('cpu' as const), used: fc.nat(100_000) }),
  fc.record({ kind: fc.constant('memory' as const), bytes: size }),
  fc.record({
    kind: fc.constant('output' as const),
    bytes: size,
    entropy: fc.double({ min: 0, max: 8, noNaN: true }),
  }),
  fc.record({
    kind: fc.constant('honeytoken' as const),
    token: text,
    where: fc.constantFrom('output' as const, 'file' as const),
  }),
)
const trust = fc.constantFrom('host' as const, 'wall' as const, 'guest' as const)
const zone = fc.constantFrom('main', 'a', 'b')
const life = fc
  .array(fc.record({ gap: fc.nat(4000), seen, trust, zone }), { maxLength: 120 })
  .map((steps) => {
    let at = 0
    return steps.map(({ gap, ...one }): Observation => ({ ...one, at: (at += gap) }))
  })

/** Only host of the runs behind the baseline. */
const knownHost = 'a:1'
const baseline = Array.from({ length: runsToLearn }).reduce<typeof noBaseline>(
  (so) =>
    withRun(
      so,
      withObservation(noTrail, {
        seen: { kind: 'connect', host: 'a', port: 1, sent: 1, received: 1, denied: false },
      }),
    ),
  noBaseline,
)

function lived(
  observations: readonly Observation[],
  past?: typeof noBaseline,
): { readonly watch: DetectionState; readonly anomalies: readonly Anomaly[] } {
  const known = { foreseen: nothingForeseen, baseline: past, thresholds: defaultThresholds }
  const anomalies: Anomaly[] = []
  let watch = initialDetection
  for (const observation of observations) {
    const looked = observe(watch, observation, known)
    watch = looked.watch
    anomalies.push(...looked.anomalies)
  }
  return { watch, anomalies }
}

/** Highest severity of each anomaly, by detector, zone and subject. */
function worst(anomalies: readonly Anomaly[]): ReadonlyMap<string, Anomaly> {
  const all = new Map<string, Anomaly>()
  for (const one of anomalies) {
    const key = `${one.name} ${one.zone} ${one.subject}`
    const before = all.get(key)
    if (!before || isAtLeast(one.severity, before.severity)) all.set(key, one)
  }
  return all
}

function isNoLess(more: readonly Anomaly[], less: readonly Anomaly[]): boolean {
  const all = worst(more)
  return [...worst(less)].every(([key, { severity }]) => {
    const found = all.get(key)
    return found !== undefined && isAtLeast(found.severity, severity)
  })
}

test('Equal observations give equal anomalies', () => {
  const told = (life: readonly Observation[]) => {
    const { watch, anomalies } = lived(life, baseline)
    return { state: stateOf(watch), anomalies }
  }
  fc.assert(fc.property(life, (life) => assert.deepEqual(told(life), told(life))))
})

test('Less trusted reports add anomalies and remove none', () => {
  fc.assert(
    fc.property(life, (life) => {
      const host = life.filter(({ trust }) => trust === 'host')
      const walls = life.filter(({ trust }) => trust !== 'guest')
      assert(isNoLess(lived(walls).anomalies, lived(host).anomalies))
      assert(isNoLess(lived(life).anomalies, lived(walls).anomalies))
    }),
  )
})

test('Claims of a guest use up none of the anomalies that the host may report', () => {
  const claims = Array.from({ length: 300 }, (_, n): Observation => ({
    at: (n + 1) * 50,
    zone: 'main',
    trust: 'guest',
    seen: { kind: 'exec', path: `/work/a${n}`, written: true, denied: false },
  }))
  const lasted = claims.at(-1)!.at
  assert(lived(claims).anomalies.length > anomaliesMax)
  fc.assert(
    fc.property(life, (life) => {
      const later = life
        .filter(({ trust }) => trust !== 'guest')
        .map((one) => ({ ...one, at: one.at + lasted }))
      assert(
        isNoLess(
          lived([...claims, ...later], baseline).anomalies,
          lived(later, baseline).anomalies,
        ),
      )
    }),
  )
})

test('S2-19: a baseline adds anomalies and removes none', () => {
  let [kept, more] = [0, 0]
  fc.assert(
    fc.property(life, (life) => {
      const [plain, compared] = [lived(life).anomalies, lived(life, baseline).anomalies]
      assert(isNoLess(compared, plain))
      kept += plain.length
      const added = new Set(compared.map(({ name, zone, subject }) => `${name} ${zone} ${subject}`))
      for (const { seen, zone, trust } of life) {
        if (trust === 'guest') continue
        const isNew = seen.kind === 'connect' && `${seen.host}:${seen.port}` !== knownHost
        if (isNew) assert(added.has(`off-baseline ${zone} hosts ${seen.host}:${seen.port}`))
        if (isNew) more++
      }
      assert(!plain.some(({ name }) => name === 'off-baseline'))
      assert(!added.has(`off-baseline main hosts ${knownHost}`))
    }),
  )
  assert(kept > 0 && more > 0)
})

test("A guest's statements alone are at most low", () => {
  fc.assert(
    fc.property(life, (life) => {
      const said = life.map((one) => ({ ...one, trust: 'guest' as const }))
      assert(lived(said, baseline).anomalies.every(({ severity }) => severity === 'low'))
    }),
  )
})

test('Detector state is bounded, however long a life is', () => {
  let watch = initialDetection
  const known = { foreseen: nothingForeseen, baseline, thresholds: defaultThresholds }
  const sizes: number[] = []
  let found = 0
  for (let at = 1; at <= 8000; at++) {
    for (const one of busy(at)) {
      const looked = observe(watch, one, known)
      watch = looked.watch
      found += looked.anomalies.length
    }
    if (at % 4000 === 0) sizes.push(JSON.stringify(stateOf(watch)).length)
  }
  assert(sizes[1]! < sizes[0]! * 1.1 + 1000)
  assert(watch.reported.host.size <= anomaliesMax + 12)
  assert(found <= 3 * (anomaliesMax + 12))
})

/** Observations that grow every state: new paths, hosts, names, zones and times. */
function busy(at: number): readonly Observation[] {
  const about = { at: at * 20, zone: `z${at % 4}`, trust: 'host' as const }
  return [
    {
      ...about,
      seen: {
        kind: 'open',
        path: `/home/u${at}/.ssh/id_${at}`,
        access: at % 2 ? 'read' : 'write',
        denied: at % 3 === 0,
      },
    },
    { ...about, seen: { kind: 'exec', path: `/work/${at}`, denied: at % 5 === 0 } },
    {
      ...about,
      seen: {
        kind: 'connect',
        host: `h${at}`,
        port: 443,
        sent: 1,
        received: 1,
        denied: at % 7 === 0,
      },
    },
    { ...about, seen: { kind: 'memory', bytes: at } },
    { ...about, seen: { kind: 'cpu', used: at * 20 } },
    { ...about, seen: { kind: 'processes', now: at % 300 } },
    { ...about, seen: { kind: 'output', bytes: at, entropy: at % 8 } },
  ]
}

function stateOf({ levels, reported, trail }: DetectionState): unknown {
  const states = Object.values(levels).map((zones) =>
    [...zones].map(([zone, running]) => [zone, running.map(({ state }) => plain(state))]),
  )
  return [states, Object.values(reported).map((level) => [...level]), trail]
}

function plain(state: unknown): unknown {
  if (state instanceof Map) return [...state].map(([key, value]) => [key, plain(value)])
  if (typeof state !== 'object' || state === null) return state
  if (Array.isArray(state)) return state
  return Object.fromEntries(Object.entries(state).map(([key, value]) => [key, plain(value)]))
}
