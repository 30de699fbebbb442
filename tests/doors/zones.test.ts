import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Mayfly, MayflyError } from '../../src/index.ts'

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

test('S2-21: the four steps: analyse, create, assign; the zones have lives and limits of their own', async () => {
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

test('S2-23: initializeExecution answers the zones that the record of its run names', async () => {
  const zones = await mayfly.initializeExecution(code, { input: { name: 'Ada' } })
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
  assert.match(
    outcome.zones?.residual.find(({ name }) => name === 'parseIt')?.why ?? '',
    /no zone of the kind "parsing"/,
  )
  assert.ok(heard.includes('zone checkName') && heard.includes('phase main'))
})

test('S2-24: a zone is tightened by hand, never loosened, and its channel goes with what was taken', async () => {
  const zones = await mayfly.initializeExecution(slow)
  const zone = zones.find(({ id }) => id === 'count')!
  await began(zones, 'count')
  await assert.rejects(
    mayfly.tightenPolicy(zone, { memory: 2 ** 40 }),
    (error: unknown) => error instanceof MayflyError && error.code === 'CONFLICT',
  )
  const { held } = await mayfly.tightenPolicy(zone, { io: 1 })
  assert.equal(held, true)
  const { result, timeline } = await mayfly.monitorZones(zones)
  assert.equal(result, 'Cannot call "count": its channel was revoked when "count" was tightened')
  assert.ok(timeline.some(({ event, zone }) => event === 'tightened' && zone === 'count'))
})

test('S2-25: a zone is ended by hand, twice with no harm, and the rest goes on', async () => {
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

test('Zones that nobody runs cannot be acted on, nor those of code that does not parse be made', async () => {
  const [zone] = await mayfly.createTemporalZones(code)
  await assert.rejects(mayfly.terminateZone(zone!), /Cannot find the execution/)
  await assert.rejects(mayfly.monitorZones([]), /Cannot find the execution/)
  await assert.rejects(
    mayfly.initializeExecution('return ('),
    (error: unknown) => error instanceof MayflyError && error.code === 'INVALID',
  )
})

test('S2-19: the second execution of an instance has its zones from the first, and only ever less', async () => {
  const info = { input: { name: 'Ada' }, instanceId: 'vm-7' }
  const first = await mayfly.initializeExecution(code, info)
  assert.match(first[1]!.because, /^schedule/)
  await mayfly.monitorZones(first)
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

/** Waits until a zone is under way. */
function began(zones: Awaited<ReturnType<Mayfly['createTemporalZones']>>, name: string) {
  const { promise, resolve } = Promise.withResolvers<void>()
  void mayfly.monitorZones(zones, {
    on: ({ event, zone }) => {
      if (event === 'zone' && zone === name) setTimeout(resolve, 50)
    },
  })
  return promise
}
