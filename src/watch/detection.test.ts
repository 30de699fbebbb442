import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  anomalySeverities,
  type ExpectedBehavior,
  isAtLeast,
  type ObservedFact,
} from '../contract/anomaly.ts'
import { anomalous } from '../../tests/fixtures/traces/anomalous.ts'
import { benign } from '../../tests/fixtures/traces/benign.ts'
import {
  client,
  MiB,
  nothingForeseen,
  type Script,
  tool,
  trace,
} from '../../tests/fixtures/traces/script.ts'
import { watched } from '../../tests/fixtures/traces/watched.ts'
import { observe, observeExecStart, initialDetection } from './detection.ts'
import {
  defaultThresholds,
  stricterThresholds,
  thresholdNames,
  whyNotStricter,
} from '../contract/thresholds.ts'

suite('S2-13: anomalous programs', () => {
  for (const one of anomalous)
    test(`S2-13: found: ${one.name}`, () => {
      const { anomalies } = watched(one)
      const found = anomalies.filter(({ name }) => name === one.expects)
      assert(found.some(({ severity }) => isAtLeast(severity, 'medium')))
      assert(found.every(({ evidence }) => evidence.length > 0))
    })

  test('S2-13: at least twenty programs cover every detector', () => {
    assert(anomalous.length >= 20)
    assert.equal(new Set(anomalous.map(({ expects }) => expects)).size, 12)
  })
})

suite('S2-14: honest programs stay at low', () => {
  for (const one of benign)
    test(`S2-14: at most low: ${one.name}`, () => {
      const above = watched(one).anomalies.filter(({ severity }) => isAtLeast(severity, 'medium'))
      assert.deepEqual(above, [])
    })

  test('S2-14: at least fifty programs are covered', () => assert(benign.length >= 50))
})

test('S2-13: no stricter threshold hides an anomaly of these programs, or makes it milder', () => {
  const worstOf = (one: (typeof anomalous)[number], thresholds = defaultThresholds) =>
    watched(one, thresholds)
      .anomalies.filter(({ name }) => name === one.expects)
      .reduce((worst, { severity }) => Math.max(worst, anomalySeverities.indexOf(severity)), -1)
  const usual = anomalous.map((one) => worstOf(one))
  assert(usual.length > 0 && usual.every((worst) => worst >= 0))
  const hidden = thresholdNames.flatMap((name) => {
    const values = [1e-3, 0.02, 0.1, 0.5, 0.9, 1.5, 2, 10, 20, 1e9].map(
      (factor) => defaultThresholds[name] * factor,
    )
    const strict = values.filter((value) => whyNotStricter(name, value) === undefined)
    assert(strict.length > 0, name)
    return strict.flatMap((value) =>
      anomalous
        .filter((one, at) => worstOf(one, stricterThresholds({ [name]: value })) < usual[at]!)
        .map((one) => `${name} = ${value}: ${one.name}`),
    )
  })
  assert.deepEqual(hidden, [])
})

type Step = (script: Script) => unknown
const known = { foreseen: nothingForeseen, baseline: undefined, thresholds: defaultThresholds }

test('S2-12: an anomaly names its zone, and is not repeated for main', () => {
  const { anomalies } = watched(
    trace('', nothingForeseen, (t) => {
      t.zone = 'parse'
      t.exec('/bin/sh').exec('/bin/sh')
    }),
  )
  assert.deepEqual(
    anomalies.map(({ name, zone }) => [name, zone]),
    [['unforeseen-access', 'parse']],
  )
})

test('A rest before an exec is that of its owner, one within it is that of the program', () => {
  const start = (t: Script) => t.during(200, { cpu: 0.5 })
  const rest = (t: Script) => t.during(5_000, { cpu: 0, wobble: 0 })
  const work = (t: Script) => t.during(2_500, { cpu: 1 })
  const call = (t: Script) => t.connect('198.51.100.7')
  const found = (before: readonly Step[], execs: readonly Step[]) => {
    const play = (steps: readonly Step[]) =>
      trace('', nothingForeseen, (t) => steps.forEach((step) => step(t))).observations
    const all = play([...before, ...execs])
    const first = execs.length > 0 ? play(before).length : Infinity
    let state = initialDetection
    return all.flatMap((observation, index) => {
      if (index === first) state = observeExecStart(state, all[index - 1]!.at)
      const { watch, anomalies } = observe(state, observation, known)
      state = watch
      return anomalies.filter(({ severity }) => severity !== 'low').map(({ name }) => name)
    })
  }
  assert.deepEqual(found([start, rest, work], []), ['cpu-shape'])
  assert.deepEqual(found([start, rest], [work]), [])
  assert.deepEqual(found([start], [rest, work]), ['cpu-shape'])
  assert.ok(found([start, rest, call], []).includes('late-activity'))
  assert.ok(!found([start, rest], [call]).includes('late-activity'))
})

suite(
  'A tenant that takes the processor from another makes its honest programs slow, not odd',
  () => {
    /** Runs for `ms`, with a share of a core used and another waited for. */
    const starved = (t: Script, from: Starved, ms: number, share: Starved) => {
      let [used, waited] = [from.used, from.waited]
      for (let at = 0; at < ms; at += 100) {
        used += 100 * share.used
        waited += 100 * share.waited
        t.wait(100).say({ kind: 'cpu', used, waited })
      }
      return { used, waited }
    }
    interface Starved {
      readonly used: number
      readonly waited: number
    }
    const none: Starved = { used: 0, waited: 0 }
    const above = (tell: (script: Script) => unknown) =>
      watched(trace('', nothingForeseen, tell))
        .anomalies.filter(
          ({ name, severity }) => severity !== 'low' && name !== 'unforeseen-access',
        )
        .map(({ name }) => name)

    test('Waiting for a core is no rest before a first request', () => {
      const asks = (share: Starved) =>
        above((t) => {
          starved(t, none, 6_000, share)
          t.connect('198.51.100.7')
        })
      assert.deepEqual(asks({ used: 0.03, waited: 0.9 }), [])
      assert.deepEqual(asks({ used: 0.03, waited: 0 }), ['late-activity'])
    })

    test('Half a second of work after a rest is that, however long it takes', () => {
      const works = (ms: number, share: Starved) =>
        above((t) => starved(t, starved(t, none, 4_000, none), ms, share))
      assert.deepEqual(works(4_000, { used: 0.125, waited: 0.87 }), [])
      assert.deepEqual(works(4_000, { used: 0.6, waited: 0.4 }), ['cpu-shape'])
      assert.deepEqual(works(2_500, { used: 1, waited: 0 }), ['cpu-shape'])
    })
  },
)

test('Denials spread over many zones add up in main', () => {
  const { anomalies } = watched(
    trace('', nothingForeseen, (t) => {
      for (let at = 0; at < 30; at++) {
        t.zone = `z${at}`
        t.wait(5).call('mail.send', true)
      }
    }),
  )
  const [burst] = anomalies.filter(({ name }) => name === 'denied-burst')
  assert.equal(burst?.zone, 'main')
})

test('Denials of two zones that are mild in each are severe in main, also while their zones report them', () => {
  const { anomalies } = watched(
    trace('', nothingForeseen, (t) => {
      for (let at = 0; at < 120; at++) {
        t.zone = at % 40 < 20 ? 'a' : 'b'
        t.wait(5).call('mail.send', true)
      }
    }),
  )
  const bursts = anomalies.filter(({ name }) => name === 'denied-burst')
  assert.deepEqual(
    bursts.map(({ zone, severity }) => [zone, severity]),
    [
      ['a', 'medium'],
      ['main', 'medium'],
      ['b', 'medium'],
      ['main', 'high'],
    ],
  )
})

test("A guest's own statements are at most low, and rate-limited", () => {
  const said = trace('', nothingForeseen, (t) => {
    t.trust = 'guest'
    for (let at = 0; at < 100; at++) t.syscall('kernel').exec(`/work/${at}`)
  })
  const { watch, anomalies } = watched(said)
  assert(anomalies.length > 0)
  assert(anomalies.every(({ severity, trust }) => severity === 'low' && trust === 'guest'))
  assert(watch.guest.dropped > 100)
})

test('A guest reporting no memory use hides no growth seen by the host', () => {
  const grows = trace('', nothingForeseen, (t) => {
    for (let at = 1; at <= 60; at++) {
      t.wait(100).say({ kind: 'memory', bytes: at * 2 * 2 ** 20 })
      t.trust = 'guest'
      t.say({ kind: 'memory', bytes: 0 })
      t.trust = 'host'
    }
  })
  const found = watched(grows).anomalies.filter(({ name }) => name === 'memory-shape')
  assert.equal(found[0]?.trust, 'host')
})

test('A claim of the guest hides no anomaly that the host or a wall finds later, however mild', () => {
  const path = '/work/tool'
  const foreseen = { ...nothingForeseen, access: undefined, ownFiles: [path] }
  const seen = { kind: 'exec', path, denied: false, written: true } as const
  const foundBy = (...levels: readonly ('host' | 'wall' | 'guest')[]) =>
    watched({
      foreseen,
      observations: levels.map((trust, n) => ({ at: n * 100, zone: 'main', trust, seen })),
    }).anomalies.map(({ name, severity, trust }) => `${severity} ${name}, ${trust}`)
  const low = 'low exec-of-written'
  assert.deepEqual(foundBy('guest', 'host'), [`${low}, guest`, `${low}, host`])
  assert.deepEqual(foundBy('guest', 'wall', 'host'), [`${low}, guest`, `${low}, wall`])
  assert.deepEqual(foundBy('host', 'wall', 'guest'), [`${low}, host`])
})

test('An anomaly is repeated only with a higher severity', () => {
  const one = (denied: number) => ({
    at: denied,
    zone: 'main',
    trust: 'host' as const,
    seen: { kind: 'capability' as const, name: 'mail.send', denied: true },
  })
  let watch = initialDetection
  const severities: string[] = []
  for (let at = 0; at < 200; at++) {
    const looked = observe(watch, one(at), known)
    watch = looked.watch
    const bursts = looked.anomalies.filter(({ name }) => name === 'denied-burst')
    severities.push(...bursts.map(({ severity }) => severity))
  }
  assert.deepEqual(severities, ['medium', 'high'])
})

suite('Programs as seen by walls', () => {
  const seenIn = (foreseen: ExpectedBehavior, ...seen: readonly ObservedFact[]) =>
    watched({
      foreseen,
      observations: seen.map((one, place) => ({
        at: place * 100,
        zone: 'main',
        trust: 'wall' as const,
        seen: one,
      })),
    }).anomalies.map(({ name, severity }) => `${severity} ${name}`)
  const open = (path: string, access: 'read' | 'write') =>
    ({ kind: 'open', path, access, denied: false }) as const

  test('Writing a honeytoken file is no theft, and reading it is', () => {
    const path = '/work/.aws/credentials'
    const foreseen = { ...tool, planted: [path] }
    assert.deepEqual(seenIn(foreseen, open(path, 'write')), [])
    assert.deepEqual(seenIn(foreseen, open(path, 'read')), ['high sensitive-data'])
    assert.deepEqual(seenIn(tool, open(path, 'write')), ['high sensitive-data'])
  })

  test('Executing a written file is found for every spelling of its path', () => {
    const run = (path: string) => ({ kind: 'exec', path, denied: false }) as const
    const calm = { ...nothingForeseen, access: undefined }
    for (const [written, called] of [
      ['tool', './tool'],
      ['/work/tool', 'bin/../tool'],
      ['./a/tool', '/work/a/tool'],
    ] as const)
      assert.deepEqual(seenIn(calm, open(written, 'write'), run(called)), [
        'medium exec-of-written',
      ])
    assert.deepEqual(seenIn(calm, open('tool', 'write'), run('/usr/bin/tool')), [])
  })

  test('A file of the job is trusted until it changes', () => {
    const calm = { ...nothingForeseen, access: undefined, ownFiles: ['/work/tool'] }
    const run = { kind: 'exec', path: '/work/tool', denied: false } as const
    assert.deepEqual(seenIn(calm, run), [])
    assert.deepEqual(seenIn(calm, { ...run, written: true }), ['low exec-of-written'])
    assert.deepEqual(seenIn(calm, open('/work/tool', 'write'), run), ['medium exec-of-written'])
    const net = {
      kind: 'connect',
      host: 'a',
      port: 1,
      sent: 1,
      received: 9,
      denied: false,
    } as const
    assert.deepEqual(seenIn(calm, net, { ...run, written: true }), ['medium exec-of-written'])
  })

  test('Executing a file written by a started tool, such as a compiler, is low; by the guest itself higher', () => {
    const calm = { ...nothingForeseen, access: undefined }
    const run = (path: string, pid: number) => ({ kind: 'exec', path, denied: false, pid }) as const
    const built = [
      run('/bin/sh', 1),
      run('/usr/bin/ld', 2),
      { ...open('/work/app', 'write'), pid: 2 },
    ]
    assert.deepEqual(seenIn(calm, ...built, run('./app', 3)), ['low exec-of-written'])
    const touched = [...built, { ...open('/work/app', 'write'), pid: 1 }]
    assert.deepEqual(seenIn(calm, ...touched, run('./app', 3)), ['medium exec-of-written'])
    const fetched = {
      kind: 'connect',
      host: 'a',
      port: 1,
      sent: 1,
      received: 9,
      denied: false,
    } as const
    assert.deepEqual(seenIn(calm, fetched, ...built, run('./app', 3)), ['medium exec-of-written'])
  })

  test('Requests are judged by size when they end: bulk transfers are no beacon, empty ones are', () => {
    const host = { kind: 'connect', host: 'c2.example', port: 443, denied: false } as const
    const asks = (received: number) =>
      Array.from({ length: 8 }).flatMap(() => [
        { ...host, sent: 0, received: 0, part: 'opened' } as const,
        { ...host, sent: 100, received, part: 'closed' } as const,
      ])
    assert.deepEqual(seenIn(client, ...asks(300)), ['medium beaconing'])
    assert.deepEqual(seenIn(client, ...asks(90_000)), [])
  })

  test('Memory growth is found even if sampled more often than it grows', () => {
    const held = Array.from({ length: 60 }, (_, at) => (40 + Math.floor(at / 2) * 2.8) * MiB)
    const samples = held.map((bytes) => ({ kind: 'memory', bytes }) as const)
    assert.deepEqual(seenIn(nothingForeseen, ...samples), [
      'low memory-shape',
      'medium memory-shape',
    ])
  })
})
