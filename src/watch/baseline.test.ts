import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { suite, test } from 'node:test'
import type { Anomaly, ObservedFact } from '../contract/anomaly.ts'
import { allControls, isWithin } from '../contract/controls.ts'
import { networkOf } from '../contract/network.ts'
import { client, Script, trace } from '../../tests/fixtures/traces/script.ts'
import { watched } from '../../tests/fixtures/traces/watched.ts'
import {
  freezeBaseline,
  isLearning,
  itemsMax,
  isReady,
  withRun,
  noBaseline,
  runsToLearn,
} from './baseline.ts'
import { openBaselineStore } from './baseline-store.ts'
import { propose } from './propose.ts'
import { withObservation, noTrail, type RunTrail, trailItemsMax } from './trail.ts'

const connect = (host: string): ObservedFact => ({
  kind: 'connect',
  host,
  port: 443,
  sent: 9,
  received: 9,
  denied: false,
})
const trailOf = (...seen: readonly ObservedFact[]): RunTrail =>
  seen.reduce((so, one) => withObservation(so, { seen: one }), noTrail)
const after = (...trails: readonly RunTrail[]) =>
  trails.reduce((so, one) => withRun(so, one), noBaseline)
const usual = trailOf(connect('api.example.com'), { kind: 'memory', bytes: 5_000_000 })
const medium = { severity: 'medium' } as Anomaly
const runs = (count: number, trail = usual) => Array.from({ length: count }, () => trail)
const goesTo = (host: string, baseline = after(...runs(runsToLearn))) =>
  watched({ foreseen: client, baseline, observations: new Script(1).connect(host).observations })
    .anomalies.filter(({ name }) => name === 'off-baseline')
    .map(({ severity }) => severity)

suite('Learning from the first runs', () => {
  test('S2-19: a host unseen in the first runs is an anomaly', () => {
    assert.deepEqual(goesTo('api.example.com'), [])
    assert.deepEqual(goesTo('drop.example.org'), ['medium'])
  })

  test('No deviation is reported while learning', () => {
    assert.deepEqual(goesTo('drop.example.org', after(...runs(runsToLearn - 1))), [])
  })

  test('Runs with anomalies are not learned from, and are counted', () => {
    const poisoned = withRun(noBaseline, trailOf(connect('drop.example.org')), [medium])
    assert.deepEqual([poisoned.runs, poisoned.setAside], [0, 1])
    assert.deepEqual(poisoned.items, noBaseline.items)
  })

  test('A host of one run alone is reported like a new one, of fewer than half of the runs as low, and of most runs not', () => {
    const odd = trailOf(connect('drop.example.org'))
    assert.equal(runsToLearn, 5)
    const seenIn = (count: number, all = 5) =>
      goesTo('drop.example.org', after(...runs(count, odd), ...runs(all - count)))
    assert.deepEqual(
      [0, 1, 2, 3, 5].map((count) => seenIn(count)),
      [['medium'], ['medium'], ['low'], [], []],
    )
    const [once, half] = [after(odd), after(odd, usual)].map(freezeBaseline)
    assert.deepEqual(goesTo('drop.example.org', once), [], 'its one run is what was frozen')
    assert.deepEqual(goesTo('drop.example.org', half), ['medium'])
  })

  test('Traffic and memory of one run alone raise no threshold, and those of two do', () => {
    const sends = (bytes: number, memory: number) =>
      trailOf({ ...connect('api.example.com'), sent: bytes } as ObservedFact, {
        kind: 'memory',
        bytes: memory,
      })
    const large = sends(50_000_000, 100_000_000)
    const found = (count: number) => {
      const script = new Script(1)
        .connect('api.example.com', { sent: 1_000_000 })
        .say({ kind: 'memory', bytes: 90_000_000 })
      const baseline = after(
        ...runs(count, large),
        ...runs(runsToLearn - count, sends(9, 5_000_000)),
      )
      return watched({ foreseen: client, baseline, observations: script.observations })
        .anomalies.filter(({ name }) => name === 'off-baseline')
        .map(({ subject }) => subject)
    }
    assert.deepEqual([found(1), found(2)], [['traffic', 'memory'], []])
  })

  test('Denied attempts are not learned', () => {
    const refused = trailOf({ ...connect('drop.example.org'), denied: true } as ObservedFact)
    assert.deepEqual(refused, noTrail)
  })

  test("A guest's own statements are not learned", () => {
    const said = trace('', client, (t) => {
      t.trust = 'guest'
      t.connect('drop.example.org')
    })
    assert.deepEqual(watched(said).watch.trail, noTrail)
  })

  test('Items dropped for lack of room are counted, and never certain to be new', () => {
    const many = trailOf(...Array.from({ length: trailItemsMax + 5 }, (_, at) => connect(`h${at}`)))
    assert.equal(many.lost.hosts, 5)
    const baseline = after(...runs(runsToLearn, many))
    assert.equal(Object.keys(baseline.items.hosts).length, itemsMax)
    assert(baseline.lost.hosts > 5)
    assert.deepEqual(goesTo('new.example.org', baseline), ['low'])
  })

  test('A frozen baseline learns no more, and judges at once', () => {
    const frozen = freezeBaseline(after(usual))
    assert.equal(withRun(frozen, trailOf(connect('b'))), frozen)
    assert.deepEqual(
      [isLearning(frozen), isReady(frozen), isReady(freezeBaseline(noBaseline))],
      [false, true, false],
    )
    assert.deepEqual(goesTo('drop.example.org', frozen), ['medium'])
  })
})

suite('Baseline store', () => {
  const subject = { tenant: 'acme', name: 'effect:thumb', code: 'c1' }

  test('Lies in the state folder, readable by its owner only, and survives a restart', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-baselines-'))
    const file = path.join(folder, 'baselines.db')
    const before = openBaselineStore(file)
    assert.equal(before.learn(subject, usual, []), 'learned')
    before.close()
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const again = openBaselineStore(file)
    assert.equal(again.get(subject)?.runs, 1)
    again.close()
    rmSync(folder, { recursive: true })
  })

  test('Is separated by tenant and code: changed code starts anew', () => {
    const store = openBaselineStore(':memory:')
    store.learn(subject, usual, [])
    assert.equal(store.get({ ...subject, code: 'c2' }), undefined)
    assert.equal(store.get({ ...subject, tenant: 'other' }), undefined)
    assert.deepEqual(store.export('other'), [])
    assert.equal(store.export('acme', 'effect:thumb')[0]?.baseline.runs, 1)
    store.close()
  })

  test('Learning ends by itself, can be stopped, and can be reset', () => {
    const store = openBaselineStore(':memory:')
    for (let run = 0; run < runsToLearn; run++)
      assert.equal(store.learn(subject, usual, []), 'learned')
    assert.equal(store.learn(subject, usual, []), 'done')
    assert.equal(store.reset(subject), 1)
    assert.equal(store.freeze(subject), false)
    store.learn(subject, usual, [])
    assert.equal(store.freeze(subject), true)
    assert.equal(store.learn(subject, usual, []), 'done')
    store.close()
  })

  test('S2-19: The first successful run of an instance is its history, also after reopening the file', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-pasts-'))
    const file = path.join(folder, 'baselines.db')
    const one = { tenant: 'acme', name: 'instance:vm-1', code: 'c1' }
    const first = openBaselineStore(file, 2)
    assert.equal(first.past(one), undefined)
    first.keepPast(one, new Map([['__proto__', new Set(['db.read'])]]))
    first.keepPast(one, new Map([['__proto__', new Set(['db.read', 'db.write'])]]))
    first.close()
    const store = openBaselineStore(file, 2)
    assert.deepEqual([...store.past(one)!], [['__proto__', new Set(['db.read'])]])
    assert.equal(store.past({ ...one, code: 'c2' }), undefined)
    assert.equal(store.past({ ...one, tenant: 'other' }), undefined)
    store.keepPast({ ...one, code: 'c2' }, new Map())
    store.past(one)
    store.keepPast({ ...one, code: 'c3' }, new Map())
    assert.equal(store.past({ ...one, code: 'c2' }), undefined, 'the one least used makes room')
    assert.ok(store.past(one))
    assert.equal(store.reset(one), 2)
    assert.equal(store.past(one), undefined)
    store.close()
    rmSync(folder, { recursive: true })
  })

  test('A full store evicts nothing, and reports it', () => {
    const store = openBaselineStore(':memory:', 1)
    store.learn(subject, usual, [])
    assert.equal(store.learn({ ...subject, code: 'c2' }, usual, []), 'full')
    assert.equal(store.learn({ ...subject, tenant: 'other' }, usual, []), 'learned')
    assert.equal(store.learn(subject, usual, []), 'learned')
    store.close()
  })
})

suite('Policy proposals', () => {
  const inForce = {
    ...allControls,
    network: networkOf({ allow: ['*.example.com'] }),
    memory: 128 * 2 ** 20,
    processes: 64,
  }

  test('Use the hosts seen and 1.5 times the memory, within the controls in force', () => {
    const proposal = propose(
      [
        after(
          ...runs(
            5,
            trailOf(
              connect('api.example.com'),
              connect('drop.example.org'),
              { kind: 'memory', bytes: 20 * 2 ** 20 },
              { kind: 'processes', now: 3 },
              { kind: 'capability', name: 'kv.get', denied: false },
              { kind: 'syscall', class: 'network', count: 1, denied: false },
            ),
          ),
        ),
      ],
      inForce,
    )
    assert(proposal && isWithin(proposal.controls, inForce))
    assert.deepEqual(proposal.controls.network.allow, ['https://api.example.com:443'])
    assert.equal(proposal.controls.memory, 30 * 2 ** 20)
    assert.equal(proposal.controls.processes, 5)
    assert.deepEqual(proposal.controls.capabilities, ['kv.get'])
    assert.equal(proposal.controls.syscalls, 'any', 'a wall is asked about few of them')
  })

  test('Name what fewer than half of the runs used', () => {
    const odd = trailOf(connect('drop.example.com'))
    const { notes } = propose([after(odd, ...runs(4))], inForce)!
    assert.ok(notes.includes('"drop.example.com:443" was used by 1 of 5 runs'), notes.join())
    assert.doesNotMatch(notes.join(), /api\.example\.com/)
  })

  test('Leave the network unchanged if hosts were dropped', () => {
    const many = trailOf(
      ...Array.from({ length: trailItemsMax + 1 }, (_, at) => connect(`h${at}.example.com`)),
    )
    assert.deepEqual(propose([after(many)], inForce)?.controls.network, inForce.network)
  })

  test('Need at least one run', () => {
    assert.equal(propose([noBaseline], inForce), undefined)
  })
})
