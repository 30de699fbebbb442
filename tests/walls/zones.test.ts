import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock } from '../../src/contract/clock.ts'
import { allControls, type Controls } from '../../src/contract/controls.ts'
import { MayflyError } from '../../src/contract/error.ts'
import type { TimelineEntry } from '../../src/contract/event.ts'
import type { Phase, ZoneSchedule } from '../../src/contract/phase.ts'
import type { Profile } from '../../src/contract/profile.ts'
import type { Provider } from '../../src/contract/provider.ts'
import type { ZoneSplit } from '../../src/contract/zones.ts'
import type { Supervisor } from '../../src/contract/pipeline.ts'
import { makePlan } from '../../src/profile/make-profile.ts'
import { supervise } from '../../src/lives/supervise.ts'
import { observeZones } from '../../src/zones/observe-zones.ts'
import { withZones } from '../../src/zones/provider.ts'
import { createIsolateProvider } from '../../src/tiers/isolated-vm/provider.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { configOf, factsOf, jobOf, verdictOf } from '../fixtures/profile-world.ts'
import { taskOf } from '../sim/simulated-life.ts'
import { splitOf } from '../zones/run-in-process.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-zones-'))
const warden = holdWarden({ stateFolder: join(folder, 'state') })
let isolates: Provider
let provider: Provider
before(() => {
  isolates = createIsolateProvider({ warden, emitter: { emit() {} }, spares: 1, wallsMax: 8 })
  provider = withZones(isolates)
})
after(async () => {
  await warden.close()
  for (const own of [folder, `${folder}-warden`]) rmSync(own, { recursive: true, force: true })
})

const phaseOf = (more: Partial<Phase> & { readonly controls: Controls }): Phase => ({
  name: 'only',
  for: 4000,
  ...more,
})
const records = { low: 'record', medium: 'record', high: 'record' } as const
const zoneOf = (phase: Phase): ZoneSchedule => ({
  phases: [phase],
  onAnomaly: records,
  shorten: 1,
})

interface Asked {
  readonly zones?: Readonly<Record<string, ZoneSchedule>>
  readonly capabilities?: readonly string[]
  /** Split of another program, as a compromised analysis could return it. */
  readonly split?: ZoneSplit
}

function profileFor({ zones, capabilities = [] }: Asked): Profile {
  const facts = [factsOf('isolate', { name: 'isolated-vm', languages: ['js', 'ts'] })]
  const { profile } = makePlan(jobOf(), verdictOf(), { config: configOf({}), facts })
  const controls = { ...profile.controls, capabilities }
  const phases = [phaseOf({ controls })]
  const schedule = { ...profile.schedule, phases, ...(zones && { zones }) }
  return { ...profile, controls, schedule }
}

interface ZonedRun {
  readonly status: string
  readonly result: unknown
  readonly error: string | undefined
  readonly timeline: readonly TimelineEntry[]
  readonly zones: readonly (readonly [name: string, calls: number])[]
  readonly printed: string
}

/** Runs one program in its zones, under the supervisor. */
async function live(
  code: string,
  asked: Asked,
  during?: (supervisor: Supervisor, entry: TimelineEntry) => void,
  by: Provider = provider,
): Promise<ZonedRun> {
  const profile = profileFor(asked)
  await using sandbox = await by.launch(profile, systemClock)
  let under: Supervisor | undefined
  const on = (entry: TimelineEntry) => queueMicrotask(() => during?.(under!, entry))
  const { signal } = new AbortController()
  const observers = [observeZones({ sandbox, clock: systemClock, schedule: profile.schedule })]
  const emitter = { emit() {} }
  await using supervisor = supervise({
    sandbox,
    profile,
    clock: systemClock,
    emitter,
    signal,
    on,
    observers,
  })
  under = supervisor
  const task = taskOf({
    code,
    capabilities: asked.capabilities ?? [],
    inputText: '{"n":3}',
  })
  let printed = ''
  const print = (chunk: Uint8Array) => void (printed += Buffer.from(chunk).toString())
  const { end, timeline, zones } = await supervisor.run(
    { ...task, split: asked.split ?? splitOf(code) },
    { stdout: print, stderr() {}, call: async (name, args) => JSON.stringify({ name, args }) },
  )
  return {
    status: end.status,
    result: JSON.parse(end.resultText) as unknown,
    error: end.error?.message,
    timeline,
    zones: (zones?.made ?? []).map(({ name, calls }) => [name, calls] as const),
    printed,
  }
}

const compute = { compute: zoneOf(phaseOf({ controls: allControls })) }
const both = {
  ...compute,
  'input-validation': zoneOf(phaseOf({ controls: { ...allControls, memory: 16 * 2 ** 20 } })),
}

test('S2-4: an unannotated program runs in zones named in its timeline', async () => {
  const code = `
    function check(n) { return n > 2 }
    async function sum(list) { let all = 0; for (const one of list) all += one; return all }
    return [await check(input.n), await sum([1, 2, input.n])]`
  const { status, result, timeline, zones } = await live(code, { zones: both })
  assert.deepEqual([status, result], ['ok', [true, 6]])
  // Made zones alone do not show that a function ran there.
  assert.deepEqual(zones, [
    ['check', 1],
    ['sum', 1],
  ])
  const begun = timeline.filter(({ event, fields }) => event === 'zone' && fields)
  assert.deepEqual(
    new Set(begun.map(({ zone, fields }) => `${zone} ${String(fields?.['kind'])}`)),
    new Set(['check input-validation', 'sum compute']),
  )
  assert.equal(timeline[0]?.event, 'phase')
})

test('a program without a zone named by its schedule runs in one piece', async () => {
  const code = 'function f(n) { return n + 1 }; return await f(input.n)'
  const { result, timeline } = await live(code, {})
  assert.equal(result, 4)
  assert.equal(
    timeline.some(({ event }) => event === 'zone'),
    false,
  )
})

test('A zone whose wall is unavailable ends the program before it starts, with status unavailable', async () => {
  const code = 'function f(n) { return n + 1 }; return await f(input.n)'
  const refusing = (how: MayflyError): Provider => {
    let walls = 0
    const launch: Provider['launch'] = (profile, clock) =>
      walls++ === 0 ? isolates.launch(profile, clock) : Promise.reject(how)
    return withZones({ ...isolates, launch })
  }
  for (const [errorCode, status] of [
    ['OVERLOADED', 'unavailable'],
    ['PROTOCOL', 'failed'],
  ] as const) {
    const one = refusing(new MayflyError(errorCode, 'Cannot make a wall: there is no room'))
    const told = await live(code, { zones: both }, undefined, one)
    assert.deepEqual([told.status, told.result, told.timeline], [status, null, []])
    assert.match(told.error ?? '', /^Cannot make a zone of its program: .* no room$/)
  }
})

test('S2-5: functions that ran are reported per zone with their counts, and output keeps its order', async () => {
  const code = `
    function check(n) { console.log('check', n); return n > 2 }
    function count(n) { console.log('count', n); return n }
    for (let i = 0; i < 20; i++) { console.log('before', i); await count(i); console.log('after', i) }
    return await check(1)`
  const { zones, printed } = await live(code, { zones: both })
  assert.deepEqual(zones, [
    ['check', 1],
    ['count', 20],
  ])
  const lines = Array.from({ length: 20 }, (_, i) => `before ${i}\ncount ${i}\nafter ${i}\n`)
  assert.equal(printed, `${lines.join('')}check 1\n`)
})

test('S2-6, S2-7: two zones have different limits at once, and exceeding one ends only that zone', async () => {
  const code = `
    function checkSize(n) { const all = []; for (let i = 0; i < n; i++) all.push([i, i, i, i]); return all.length }
    function count(n) { const all = []; for (let i = 0; i < n; i++) all.push([i, i, i, i]); return all.length }
    const many = 400000
    const out = [await checkSize(10), await count(many)]
    try { await checkSize(many); out.push('held') } catch (error) { out.push(error.message) }
    try { await checkSize(1); out.push('back') } catch (error) { out.push(error.message) }
    out.push(await count(7))
    return out`
  const { status, result, timeline, zones } = await live(code, { zones: both })
  assert.equal(status, 'ok')
  // The third call of `checkSize` is refused, and not counted.
  assert.deepEqual(zones, [
    ['checkSize', 2],
    ['count', 2],
  ])
  assert.deepEqual(result, [
    10,
    400_000,
    'Cannot call "checkSize": its zone has ended: limit MEMORY',
    'Cannot call "checkSize": its zone has ended: limit MEMORY',
    7,
  ])
  const gone = timeline.find(
    ({ event, zone, reason }) => event === 'zone' && zone === 'checkSize' && reason,
  )
  assert.equal(gone?.reason, 'its zone has ended: limit MEMORY')
})

test("S2-11: an endless loop ends with its zone's life, and the rest continues", async () => {
  const code = `
    function validate(n) { for (;;) n = n + 1 }
    function count(n) { return n + 1 }
    let said = 'nothing'
    try { await validate(1) } catch (error) { said = error.message }
    return [said, await count(1)]`
  const zones = {
    ...compute,
    'input-validation': zoneOf(phaseOf({ name: 'brief', for: 200, controls: allControls })),
  }
  const { status, result, timeline, zones: made } = await live(code, { zones })
  assert.deepEqual([status, result], ['ok', ['Cannot call "validate": its zone has ended', 2]])
  assert.deepEqual(made.at(-1), ['count', 1])
  const end = timeline.find(({ event, zone }) => event === 'terminated' && zone === 'validate')
  assert.equal(end?.reason, 'timeout')
  assert.ok((end?.at ?? 0) >= 200, `it ended after ${end?.at} ms`)
})

test('S2-18: tightening a zone revokes its channels, also under a pending call', async () => {
  const code = `
    async function validate(n) {
      try { await call('not.granted', n) } catch {}
      await new Promise((done) => setTimeout(done, 3000))
      return n
    }
    function count(n) { return n + 1 }
    const out = []
    try { out.push(await validate(1)) } catch (error) { out.push(error.message) }
    try { out.push(await validate(1)) } catch (error) { out.push(error.message) }
    out.push(await count(1))
    return out`
  const to = { ...allControls, io: 1 }
  let asked = false
  const { result, timeline, zones } = await live(
    code,
    { zones: { ...compute, capability: compute.compute } },
    (supervisor, entry) => {
      // An entry of its function, so that its caller waits.
      if (asked || entry.event !== 'denied' || entry.zone !== 'validate') return
      asked = true
      void supervisor.tighten(to, { actor: 'operator', reason: 'odd', zone: 'validate' })
    },
  )
  assert.deepEqual(result, [
    'Cannot call "validate": its channel was revoked when "validate" was tightened',
    'Cannot call "validate": its channel was revoked when "validate" was tightened',
    2,
  ])
  assert.deepEqual(zones.at(-1), ['count', 1])
  const revoked = timeline.find(({ event }) => event === 'channel')
  assert.deepEqual(revoked?.fields, { to: 'validate', what: 'revoked' })
})

test('S2-24: rights lost while zone walls are being made are lost in the zones before they start', async () => {
  const code = 'function count(n) { return n + 1 }; return await count(input.n)'
  const [asked, made] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const told: number[] = []
  let toldAtStart: readonly number[] = []
  let walls = 0
  const launch: Provider['launch'] = async (profile, clock) => {
    if (walls++ === 0) return await isolates.launch(profile, clock)
    asked.resolve()
    await made.promise
    const wall = await isolates.launch(profile, clock)
    const [tighten, run] = [wall.tighten.bind(wall), wall.run.bind(wall)]
    wall.tighten = async (to) => {
      told.push(to.io)
      return await tighten(to)
    }
    // The wall exists, and the supervisor does not know it yet.
    wall.run = async (...task) => {
      await sandbox.tighten({ ...profile.controls, io: 1 })
      toldAtStart = [...told]
      return await run(...task)
    }
    return wall
  }
  const profile = profileFor({ zones: compute })
  await using sandbox = await withZones({ ...isolates, launch }).launch(profile, systemClock)
  const task = taskOf({ code, inputText: '{"n":3}' })
  const end = sandbox.run(
    { ...task, split: splitOf(code) },
    { stdout() {}, stderr() {}, released() {} },
  )
  await asked.promise
  const { unenforced } = await sandbox.tighten({ ...profile.controls, io: 2 })
  made.resolve()
  assert.equal((await end).resultText, '4')
  assert.deepEqual([unenforced, toldAtStart], [[], [2, 1]])
})

test('S2-18: a call outside the permitted channels is refused, reported with its zone, and harms no other', async () => {
  const code = `
    function count(n) { return n + 1 }
    async function other(n) { return n + (await count(n)) }
    return await other(1)`
  const { result, zones } = await live(code, { zones: compute })
  assert.deepEqual(
    [result, zones.toSorted((a, b) => (a < b ? -1 : 1))],
    [
      3,
      [
        ['count', 1],
        ['other', 1],
      ],
    ],
  )
  const hostile = `
    function count(n) { return n + 1 }
    const out = [await count(1)]
    for (const said of [{ to: 'nobody', args: [] }, { reply: { id: 1, value: 1 } }, { odd: 1 }, null])
      try { await call('mayfly.zone', said); out.push('let through') } catch (error) { out.push(error.message) }
    out.push(await count(2))
    return out`
  const { result: told, timeline } = await live(hostile, { zones: compute })
  assert.deepEqual(told, [
    2,
    'Cannot call "nobody": no such channel is permitted',
    'Cannot answer a call: this zone was not asked',
    'Cannot use a channel of "main": it has none open',
    'Cannot use a channel of "main": it has none open',
    3,
  ])
  assert.ok(
    timeline.some(({ event, fields }) => event === 'channel' && fields?.['to'] === 'nobody'),
  )
})

test('a zone can call only the capabilities it was seen to use', async () => {
  const code = `
    async function load(n) { return await call('db.read', { n }) }
    async function sneak(n) { return await call('db' + '.' + 'write', { n }) }
    const out = [await load(input.n)]
    try { out.push(await sneak(1)) } catch (error) { out.push(error.message) }
    return out`
  const zones = {
    capability: zoneOf(phaseOf({ controls: { ...allControls, capabilities: ['db.read'] } })),
  }
  const { result } = await live(code, { zones, capabilities: ['db.read', 'db.write'] })
  assert.deepEqual(result, [
    { name: 'db.read', args: '{"n":3}' },
    'Cannot call "db.write": it is not granted',
  ])
})

test('Oversized answers and arbitrary thrown values are errors of the caller only', async () => {
  const code = `
    function parse(n) { return 'x'.repeat(n) }
    function count(n) { if (n > 1) throw new RangeError('not ' + n); return n }
    const out = []
    try { out.push((await parse(3000000)).length) } catch (error) { out.push(error.message) }
    try { await count(2) } catch (error) { out.push(error instanceof RangeError, error.message) }
    out.push((await parse(3)).length, await count(1))
    return out`
  const { result } = await live(code, { zones: { ...compute, parsing: compute.compute } })
  assert.deepEqual(result, [
    'Cannot call "parse": its answer is too large for its channel',
    true,
    'not 2',
    3,
    1,
  ])
})

test('Forged calls of main are answered with a value or an error, and the zone that they name still answers', async () => {
  const code = `
    function count(n) { return n + 1 }
    const said = [
      { to: 'count', args: ['a', [['o', [['__proto__', ['o', [['polluted', 1]]]]]]]] },
      { to: 'count', args: { length: 1000000000 } },
      { to: 'count', args: ['a', { length: 1000000000 }] },
      { to: 'count', args: 'text' },
    ]
    const out = []
    for (const one of said) {
      try { out.push((await call('mayfly.zone', one)).error ? 'error' : 'value') } catch { out.push('refused') }
    }
    out.push(await count(1))
    return out`
  const { result, status } = await live(code, { zones: compute })
  assert.deepEqual([status, result], ['ok', ['value', 'error', 'error', 'value', 2]])
})

test('Unawaited call floods end at the budgets, and the zone still answers', async () => {
  const honest = `function count(n) { return n + 1 }
    return await count(1)`
  const flood = `function count(n) { return n + 1 }
    const all = []
    let refused = 0
    for (let i = 0; i < 500; i++) all.push(call('mayfly.zone', { to: 'count', args: ['a', [i]] }))
    for (const { status } of await Promise.allSettled(all)) if (status === 'rejected') refused++
    return [refused, await count(2)]`
  assert.deepEqual(splitOf(flood).zones, [], 'the program would not be split by default')
  const { result, timeline } = await live(flood, { zones: compute, split: splitOf(honest) })
  const [refused, last] = result as [number, number]
  assert.ok(refused >= 1 && refused <= 500 - 64, `${refused} were refused`)
  assert.equal(last, 3)
  assert.ok(timeline.filter(({ event }) => event === 'channel').length <= 64)
})

test('S2-11: conditions of a zone see its own calls and CPU time', async () => {
  const zoneUntil = (terminateIf: string) =>
    zoneOf(phaseOf({ controls: allControls, terminateIf, for: 20_000 }))
  const asking = `
    async function load(n) { return await call('db.read', { n }) }
    let loaded = 0
    try { for (; loaded < 20; loaded++) { await load(loaded); await new Promise((done) => setTimeout(done, 60)) } } catch {}
    return loaded`
  const capabilities = ['db.read']
  const asked = await live(asking, { zones: { capability: zoneUntil('calls > 3') }, capabilities })
  assert.equal(asked.status, 'ok', String(asked.error))
  // Race: the fourth call may be answered before its zone ends.
  assert.ok((asked.result as number) >= 3 && (asked.result as number) < 20, String(asked.result))
  const cut = asked.timeline.find(({ event, zone }) => event === 'terminated' && zone === 'load')
  assert.equal(cut?.reason, 'terminate_if calls > 3')

  const spinning = `
    function spin(n) { let sum = 0; for (let at = 0; at < n; at++) sum += at % 7; return sum }
    const first = await spin(1000)
    await new Promise((done) => setTimeout(done, 300))
    const second = await spin(1000)
    let spun = 0
    try { for (; spun < 1000; spun++) await spin(1e7) } catch {}
    return [first === second, spun]`
  const spun = await live(spinning, { zones: { compute: zoneUntil('life.cpu > 150') } })
  assert.equal(spun.status, 'ok', String(spun.error))
  const [isSame, times] = spun.result as [boolean, number]
  assert.ok(isSame && times > 0 && times < 1000, String(times))
})
