import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { openLog } from '../../src/evidence/log-reader.ts'
import { Mayfly, MayflyError } from '../../src/index.ts'
import { test } from '../fixtures/drawn.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-zones-'))
let mayfly: Mayfly
before(async () => {
  mayfly = await Mayfly.open({
    state: join(folder, 'state'),
    schedules: {
      default: {
        phases: [{ name: 'full', for: '20s' }],
        zones: {
          'input-validation': { phases: [{ name: 'brief', for: '5s', memory: '16MB' }] },
          compute: { phases: [{ name: 'work', for: '15s' }] },
        },
      },
    },
  })
})
after(async () => {
  await mayfly.close()
  rmSync(folder, { recursive: true, force: true })
})

const code = `function checkName(name) {
  if (typeof name !== 'string') throw new TypeError('no name')
  return name.length < 20
}
function count(list) { let sum = 0; for (const one of list) sum += one; return sum }
function parseIt(text) { return JSON.parse(text) }
const parsed = await parseIt('[1]')
return { good: await checkName(input.name), sum: await count([1, 2, 3]), parsed }`
const slow = `async function count(n) { await new Promise((done) => setTimeout(done, 10000)); return n }
let said = 'nothing'
try { await count(1) } catch (error) { said = error.message }
return said`

test('S2-20: analyzeCode lists the areas of a source, each with its lines', async () => {
  const { areas, risk } = await mayfly.analyzeCode(`${code}\n// eval\nif (input.x) eval('1')`)
  const told = areas.map(({ area, line, endLine, name }) => [area, line, endLine, name ?? null])
  assert.deepEqual(told.slice(0, 3), [
    ['input-validation', 1, 4, 'checkName'],
    ['compute', 5, 5, 'count'],
    ['parsing', 6, 6, 'parseIt'],
  ])
  assert.ok(areas.some(({ area, line }) => area === 'eval' && line === 10))
  assert.ok(risk > 0)
})

test('S2-20: thirty sources: functions that validate input, use the network, open files or start programs are found, with their lines', async () => {
  const sources = new URL('../fixtures/areas/', import.meta.url)
  const names = readdirSync(sources)
  assert.equal(names.length, 30)
  const risky = ['input-validation', 'network', 'files', 'exec']
  const found = new Map<string, number>()
  for (const file of names) {
    const source = readFileSync(new URL(file, sources), 'utf8')
    const info = /: Ticket/.test(source) ? ({ language: 'ts' } as const) : {}
    const { areas } = await mayfly.analyzeCode(source, info)
    const told = areas.filter(({ area, name }) => name !== undefined && risky.includes(area))
    const lines = told.map(({ area, name, line, endLine }) => `${area} ${name} ${line}-${endLine}`)
    // The first line of each source lists the functions to find, and no others may be found.
    assert.equal(lines.join(', '), source.slice(3, source.indexOf('\n')), file)
    for (const { area } of told) found.set(area, (found.get(area) ?? 0) + 1)
  }
  assert.deepEqual(
    risky.map((area) => found.get(area)! > 4),
    [true, true, true, true],
  )
})

test('S2-21, S2-22: analyse, create, assign and run: the zones have their own schedules and limits', async () => {
  const analysis = await mayfly.analyzeCode(code)
  const zones = await mayfly.createTemporalZones(code)
  assert.deepEqual(
    zones.map(({ id, kind, lifespan, execution }) => [id, kind, lifespan, execution]),
    [
      ['main', 'main', 20_000, null],
      ['checkName', 'input-validation', 5000, null],
      ['count', 'compute', 15_000, null],
    ],
  )
  assert.equal(zones[1]!.controls.memory, 16 * 2 ** 20)
  assert.deepEqual(zones[0]!.mayCall, ['checkName', 'count'])
  const parts = mayfly.assignCodeToZones(code, analysis, zones)
  assert.deepEqual(
    parts.map(({ zone }) => zone),
    ['main', 'checkName', 'count'],
  )
  assert.match(parts[1]!.code, /^function checkName[^;]*\}\n;? *\n/)
  assert.doesNotMatch(parts[1]!.code, /count|parseIt/)
  assert.match(parts[0]!.code, /parseIt/)
})

test('S2-23: initializeExecution returns the zones that the record of its run names', async () => {
  const zones = await mayfly.initializeExecution(code, { input: { name: 'Ada' } })
  assert.equal(zones[0]!.id, 'main')
  const heard: string[] = []
  const outcome = await mayfly.monitorZones(zones, {
    on: ({ event, zone }) => void heard.push(`${event} ${zone}`),
  })
  assert.deepEqual(outcome.result, { good: true, sum: 6, parsed: [1] })
  assert.equal(outcome.id, zones[0]!.execution)
  assert.deepEqual(
    outcome.zones?.made.map(({ name, calls }) => [name, calls]),
    zones.slice(1).map(({ id }) => [id, 1]),
  )
  assert.deepEqual(
    recordedZones(outcome.id).map(({ zone }) => zone),
    zones.slice(1).map(({ id }) => id),
  )
  assert.match(
    outcome.zones?.residual.find(({ name }) => name === 'parseIt')?.why ?? '',
    /no zone of the kind "parsing"/,
  )
  assert.ok(heard.includes('zone checkName') && heard.includes('phase main'))
})

test('S2-5: which function ran in which zone, called from where and how often, is in the record', async () => {
  const program = `function checkOne(n) { return n > 1 }
    async function count(n) {
      let sum = 0
      for (let i = 1; i <= n; i++) if (await checkOne(i)) sum += i
      return sum
    }
    function never(n) { return n }
    if (!(await checkOne(2))) return await never(1)
    return await count(3)`
  const zones = await mayfly.initializeExecution(program)
  const { id, result, zones: told } = await mayfly.monitorZones(zones)
  assert.equal(result, 5)
  const ran = [
    {
      zone: 'checkOne',
      kind: 'input-validation',
      line: 1,
      endLine: 1,
      callers: { main: 1, count: 3 },
    },
    { zone: 'count', kind: 'compute', line: 2, endLine: 6, callers: { main: 1 } },
    { zone: 'never', kind: 'compute', line: 7, endLine: 7, callers: {} },
  ]
  assert.deepEqual(
    told?.made.map(({ name, calls, callers }) => [name, calls, callers]),
    ran.map(({ zone, callers }) => [
      zone,
      Object.values<number>(callers).reduce((sum, n) => sum + n, 0),
      callers,
    ]),
  )
  assert.deepEqual(recordedZones(id), ran)
})

/** Zones that the ended line of a run names. */
function recordedZones(id: string): readonly { readonly zone: string }[] {
  using log = openLog(join(folder, 'state', 'audit.db'))
  const line = log.last(1000, id).find(({ kind }) => kind === 'ended')
  return JSON.parse(String(line?.bodyText)).zones
}

test('S2-24: a zone is tightened by the caller, never loosened, and its channel is revoked with the right', async () => {
  const zones = await mayfly.initializeExecution(slow)
  const zone = zones.find(({ id }) => id === 'count')!
  await began(zones, 'count')
  await assert.rejects(
    mayfly.tightenPolicy(zone, { memory: 2 ** 40 }),
    (error: unknown) => error instanceof MayflyError && error.code === 'CONFLICT',
  )
  const twice = [1, 2].map(() => mayfly.tightenPolicy(zone, { io: 1 }))
  for (const { held, controls } of await Promise.all(twice))
    assert.deepEqual([held, controls.io], [true, 1])
  const { result, timeline } = await mayfly.monitorZones(zones)
  assert.equal(result, 'Cannot call "count": its channel was revoked when "count" was tightened')
  assert.ok(timeline.some(({ event, zone }) => event === 'tightened' && zone === 'count'))
})

test('S2-25: a zone is ended by the caller, ending it twice is harmless, and the rest continues', async () => {
  const zones = await mayfly.initializeExecution(slow)
  const zone = zones.find(({ id }) => id === 'count')!
  await began(zones, 'count')
  await Promise.all([mayfly.terminateZone(zone), mayfly.terminateZone(zone)])
  const { result, status } = await mayfly.monitorZones(zones)
  assert.deepEqual([status, result], ['ok', 'Cannot call "count": its zone has ended'])
  await assert.rejects(
    mayfly.terminateZone(zone),
    (error: unknown) => error instanceof MayflyError && error.code === 'NOT_FOUND',
  )
})

test('Zones without an execution accept no action, and code that does not parse has no zones', async () => {
  const [zone] = await mayfly.createTemporalZones(code)
  await assert.rejects(mayfly.terminateZone(zone!), /Cannot find the execution/)
  await assert.rejects(mayfly.monitorZones([]), /Cannot find the execution/)
  await assert.rejects(
    mayfly.initializeExecution('return ('),
    (error: unknown) => error instanceof MayflyError && error.code === 'INVALID',
  )
})

test('S2-19: the second execution of an instance gets its zones from the first, with no more rights', async () => {
  const info = { input: { name: 'Ada' }, instanceId: 'vm-7' }
  const first = await mayfly.initializeExecution(code, info)
  assert.match(first[1]!.because, /^schedule/)
  assert.equal((await mayfly.monitorZones(first)).status, 'ok')
  const second = await mayfly.initializeExecution(code, info)
  assert.equal(second[1]!.because, 'history')
  assert.equal((await mayfly.monitorZones(second)).status, 'ok')
  const other = await mayfly.createTemporalZones(code, {
    ...info,
    tenant: 'default',
    instanceId: 'vm-8',
  })
  assert.match(other[1]!.because, /^schedule/)
})

test('S2-19: a first execution that fails teaches nothing, and the next one is as a first', async () => {
  const info = { input: { name: 'Ada' }, instanceId: 'vm-10' }
  const failing =
    code.replace('return { good', 'const all = { good') + `\nthrow new Error('not today')`
  const first = await mayfly.initializeExecution(failing, info)
  assert.equal((await mayfly.monitorZones(first)).status, 'error')
  const second = await mayfly.initializeExecution(failing, info)
  assert.match(second[1]!.because, /^schedule/)
})

test('S2-19: an instance has a name of 1 to 200 characters: objects would share one history', async () => {
  const wrong = { code: 'INVALID', message: /"instanceId": expected a text of 1 to 200/ }
  for (const instanceId of ['', 'v'.repeat(201), 7, {}, null])
    await assert.rejects(
      mayfly.createTemporalZones('return 1', { instanceId: instanceId as string }),
      wrong,
    )
})

test('S2-19: the learned behavior of an instance is loaded by the next start on the same state folder', async () => {
  const state = join(folder, 'kept')
  const program = `async function load(name) { return await call(name, 1) }
    let said = 'nothing'
    try { await load(input) } catch (error) { said = error.name }
    return said`
  const zones = { capability: { phases: [{ name: 'only', for: '4s' as const }] } }
  const schedules = { default: { phases: [{ name: 'full', for: '9s' as const }], zones } }
  const info = { input: 'db.read', instanceId: 'vm-9' }
  for (const because of [/^schedule/, /^history$/]) {
    await using one = await Mayfly.open({ state, schedules })
    const [, zone] = await one.createTemporalZones(program, info)
    assert.match(zone!.because, because)
    const begun = await one.initializeExecution(program, info)
    assert.equal((await one.monitorZones(begun)).status, 'ok')
  }
})

test('S2-19: a call of a capability that the history of an instance leaves out is an entry of its zone', async () => {
  const program = `async function load(again) { return again ? await call('math.add', [1, 2]) : 1 }
    try { return await load(input) } catch (error) { return error.message }`
  const zones = { capability: { phases: [{ name: 'only', for: '4s' as const }] } }
  const schedules = { default: { phases: [{ name: 'full', for: '9s' as const }], zones } }
  await using one = await Mayfly.open({ state: join(folder, 'left-out'), schedules })
  const ends = []
  for (const input of [false, true]) {
    const info = { input, instanceId: 'vm-11', capabilities: ['math.add' as const] }
    const begun = await one.initializeExecution(program, info)
    const { result, timeline } = await one.monitorZones(begun)
    const denied = timeline.filter(({ event }) => event === 'denied')
    ends.push([result, denied.map(({ zone, fields }) => [zone, fields])])
  }
  assert.deepEqual(ends, [
    [1, []],
    [
      'Cannot call "math.add": this job was not granted that capability',
      [['load', { capability: 'math.add' }]],
    ],
  ])
})

/** Waits until a zone runs. */
function began(zones: Awaited<ReturnType<Mayfly['createTemporalZones']>>, name: string) {
  const { promise, resolve } = Promise.withResolvers<void>()
  void mayfly.monitorZones(zones, {
    on: ({ event, zone }) => {
      if (event === 'zone' && zone === name) setTimeout(resolve, 50)
    },
  })
  return promise
}
