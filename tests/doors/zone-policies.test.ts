import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { openLog } from '../../src/evidence/log-reader.ts'
import { Mayfly, MayflyError } from '../../src/index.ts'
import { test } from '../fixtures/drawn.ts'
import { unable } from '../walls/process-stands.ts'

/** Policies of single functions and of single channels, and the documented calls of S2. */
const folder = mkdtempSync(join(tmpdir(), 'mayfly-zone-policies-'))
after(() => rmSync(folder, { recursive: true, force: true }))
let count = 0
let state = ''

type Schedule = Record<string, unknown>

const open = (schedule: Schedule, config: object = {}) => {
  state = join(folder, String(count++))
  const phases = [{ name: 'full', for: '20s' }]
  return Mayfly.open({ state, schedules: { default: { phases, ...schedule } }, ...config })
}
const zone = (more: Schedule = {}, phase: Schedule = {}) => ({
  ...more,
  phases: [{ name: 'own', for: '9s', ...phase }],
})

/** `control/unenforced` in the record, as zone and reason. */
function unenforced(): readonly string[] {
  using log = openLog(join(state, 'audit.db'))
  return [...log.lines()]
    .filter(({ kind }) => kind === 'event')
    .map(
      ({ bodyText }) => JSON.parse(bodyText) as { point: string; fields: Record<string, string> },
    )
    .filter(({ point }) => point === 'control/unenforced')
    .map(({ fields }) => `${fields['zone']}: ${fields['why']}`)
}

const code = `function validateName(n) { for (;;) n = n + 1 }
function checkAge(n) { return n > 17 }
let said = 'nothing'
try { await validateName(1) } catch (error) { said = error.message }
return [said, await checkAge(20)]`

test('S2-28: a policy applies to a function by its name, and not to another function of the same kind', async () => {
  await using mayfly = await open({
    zones: {
      names: {
        function: 'validateName',
        phases: [{ name: 'brief', for: '400ms', memory: '16MB' }],
      },
    },
  })
  const zones = await mayfly.initializeExecution(code)
  assert.deepEqual(
    zones.map(({ id, lifespan }) => [id, lifespan]),
    [
      ['main', 20_000],
      ['validateName', 400],
    ],
  )
  const { result, timeline, zones: made } = await mayfly.monitorZones(zones)
  assert.deepEqual(result, ['Cannot call "validateName": its zone has ended', true])
  assert(timeline.some(({ zone: of, phase }) => of === 'validateName' && phase === 'brief'))
  assert.deepEqual(
    [made?.made, made?.residual].map((list) => list?.map(({ name, kind }) => [name, kind])),
    [[['validateName', 'input-validation']], [['checkAge', 'input-validation']]],
  )
  assert.deepEqual(unenforced(), [])
})

test('S2-28: a wall without zones of functions runs no code with a function that has a policy, and reports the policy for other code', async (t) => {
  if (unable()) return t.skip('no process wall here')
  await using mayfly = await open({
    zones: { names: { function: 'validateName', phases: [{ name: 'brief', for: '400ms' }] } },
  })
  const refused = await mayfly.run({ code, tier: 'process' })
  assert.equal(refused.status, 'unavailable')
  assert.equal(
    refused.error?.message,
    'Cannot hold the policy of "validateName": its wall makes no zones of functions',
  )
  assert.deepEqual(unenforced(), [])
  const other = await mayfly.run({ code: 'return 1', tier: 'process' })
  assert.deepEqual([other.status, other.result], ['ok', 1])
  assert.deepEqual(unenforced(), [
    'validateName: the code runs in one piece, without zones of functions',
  ])
})

test('S2-28: the policy of a function has priority over that of its kind, and gets a zone before other functions', async () => {
  const names = ['one', 'two', 'three', 'four', 'five']
  const program = `${names.map((name) => `function ${name}(n) { return n + 1 }`).join('\n')}
return [${names.map((name) => `await ${name}(1)`).join(', ')}]`
  await using mayfly = await open({
    zones: { compute: zone(), last: zone({ function: 'five' }, { memory: '16MB' }) },
  })
  const zones = await mayfly.createTemporalZones(program)
  assert.equal(zones.length, 5)
  assert.equal(zones.find(({ id }) => id === 'five')?.controls.memory, 16 * 2 ** 20)
  const { result } = await mayfly.run({ code: program })
  assert.deepEqual(result, [2, 2, 2, 2, 2])
})

test('S2-28: code whose function cannot get its policy does not run, and the error has the reason', async () => {
  await using mayfly = await open({ zones: { names: zone({ function: 'validateName' }) } })
  for (const program of [
    'let seen = 0\nfunction validateName(n) { seen = seen + n; return seen }\nreturn await validateName(1)',
    'function validateName(n) { return n }\nreturn [1].map(validateName)',
    'function validateName(n) { return n }\nconst f = globalThis\nreturn await validateName(1)',
    'class validateName {}\nreturn new validateName() instanceof Object',
    'function validateName(n) { return n }',
  ]) {
    const { status, error } = await mayfly.run({ code: program })
    assert.equal(status, 'unavailable', program)
    assert.match(error!.message, /Cannot hold the policy of "validateName": .+/)
  }
  const other = await mayfly.run({ code: 'function validateName(n) { return n }\nreturn 1' })
  assert.deepEqual([other.status, other.result], ['ok', 1])
})

test('S2-28: a batch and a cell of a session, which have no zones, run no function that has a policy', async () => {
  await using mayfly = await open({ zones: { names: zone({ function: 'validateName' }) } })
  const named = 'function validateName(n) { return n }'
  const batch = await mayfly.batch({ code: `${named}\nreturn await validateName(input)` }, [1, 2])
  assert.deepEqual(
    [batch.status, batch.error?.message],
    [
      'unavailable',
      'Cannot hold the policy of "validateName": a batch makes no zones of functions',
    ],
  )
  const other = await mayfly.batch({ code: 'return input + 1' }, [1, 2])
  assert.equal(other.status, 'ok')
  await using box = await mayfly.open({ language: 'js' })
  // A later cell could call it.
  for (const cell of [named, `${named}\nawait validateName(1)`]) {
    const { status, error } = await box.run({ code: cell })
    assert.deepEqual(
      [status, error?.message],
      [
        'unavailable',
        'Cannot hold the policy of "validateName": a session makes no zones of functions',
      ],
    )
  }
  assert.equal((await box.run({ code: 'typeof validateName' })).result, 'undefined')
})

test('S2-28: a job, a batch and a cell whose code could not be read do not run under policies of functions', async () => {
  const zones = { names: zone({ function: 'validateName' }) }
  const escalation = { 0: 'isolate' }
  await using mayfly = await open({ zones }, { escalation })
  const named = `function validateName(n) { return n }
const deep = ${'['.repeat(3000)}${']'.repeat(3000)}`
  const why = 'Cannot hold the policies of functions: the code could not be read'
  const job = await mayfly.run({ code: `${named}\nreturn await validateName(1)` })
  assert.deepEqual([job.status, job.error?.message], ['unavailable', why])
  const batch = await mayfly.batch({ code: `${named}\nreturn await validateName(input)` }, [1])
  assert.deepEqual([batch.status, batch.error?.message], ['unavailable', why])
  await using box = await mayfly.open({ language: 'js' })
  const cell = await box.run({ code: named })
  assert.deepEqual([cell.status, cell.error?.message], ['unavailable', why])
  const broken = await box.run({ code: 'function (' })
  assert.equal(broken.error?.code, 'SYNTAX_ERROR')
  assert.equal((await box.run({ code: 'typeof validateName' })).result, 'undefined')
})

test('S2-28: a policy for a function that the code does not define is reported in the record', async () => {
  await using mayfly = await open({ zones: { names: zone({ function: 'validateNam' }) } })
  const { status } = await mayfly.run({
    code: 'function validateName(n) { return n }\nreturn await validateName(1)',
  })
  assert.equal(status, 'ok')
  assert.deepEqual(unenforced(), ['validateNam: the code has no function of this name at its top'])
})

test('S2-7: the CPU limit of a JavaScript zone is not enforced, and the record of each run reports that', async () => {
  await using mayfly = await open({ zones: { compute: zone({}, { cpu: 0.3 }) } })
  const program = 'function double(n) { return n * 2 }\nreturn await double(2)'
  assert.equal((await mayfly.run({ code: program })).result, 4)
  assert.deepEqual(unenforced(), [
    'double: no wall of JavaScript holds "cpu" for a zone, only for the whole',
  ])
})

test('S2-18: one channel is closed, another limited in its rate, and a third closed after a while', async () => {
  const program = `function checkOne(n) { return n }
function parseOne(n) { return n }
function double(n) { return n * 2 }
async function pause(ms) { await new Promise((done) => setTimeout(done, ms)) }
const said = []
try { await checkOne(1) } catch (error) { said.push(error.message) }
for (let i = 0; i < 3; i++) {
  try { said.push(await parseOne(i)) } catch (error) { said.push(error.message) }
}
said.push(await double(1))
await new Promise((done) => setTimeout(done, 1200))
try { await double(2) } catch (error) { said.push(error.message) }
return said`.replace(/async function pause.*\n/, '')
  await using mayfly = await open({
    zones: { 'input-validation': zone(), parsing: zone(), compute: zone() },
    channels: [
      { from: 'main', to: 'input-validation', permit: false },
      { from: '*', to: 'parsing', calls_per_second: 2 },
      { from: 'main', to: 'compute', for: '1s' },
    ],
  })
  const { result, timeline, error } = await mayfly.run({ code: program })
  assert.deepEqual(
    result,
    [
      'Cannot call "checkOne": its schedule closes this channel',
      0,
      1,
      'Cannot call "parseOne": its channel carries 2 calls a second',
      2,
      'Cannot call "double": its schedule closes this channel after 1000 ms',
    ],
    error?.message ?? '',
  )
  const told = timeline.filter(({ event }) => event === 'channel').map(({ fields }) => fields)
  assert.deepEqual(told, [
    { to: 'checkOne', what: 'refused' },
    { to: 'parseOne', what: 'refused' },
    { to: 'double', what: 'revoked' },
    { to: 'double', what: 'refused' },
  ])
})

test('S2-21, S2-22: the documented calls of S2 run with their order of arguments', async () => {
  await using mayfly = await open({ zones: { compute: zone() } })
  const { analyzeCode, createTemporalZones, assignCodeToZones, monitorZones } = bound(mayfly)
  async function initializeExecution(programCode: string, executionInfo: { input: number }) {
    const riskAnalysis = await analyzeCode(programCode)
    const initialTZs = await createTemporalZones(riskAnalysis, executionInfo)
    assignCodeToZones(programCode, initialTZs)
    const outcome = monitorZones(initialTZs)
    return { initialTZs, outcome }
  }
  const program = 'function double(n) { return n * 2 }\nreturn await double(input)'
  const { initialTZs, outcome } = await initializeExecution(program, { input: 21 })
  assert.deepEqual(
    initialTZs.map(({ id }) => id),
    ['main', 'double'],
  )
  const { result, zones } = await outcome
  assert.equal(result, 42)
  assert.deepEqual(
    zones?.made.map(({ name }) => name),
    ['double'],
  )
  for (const one of initialTZs) assert.equal(mayfly.detectAnomaly(one), false)
  assert.equal((await monitorZones(initialTZs)).id, (await outcome).id)
})

test('S2-21, S2-22: zones of other code, a copied analysis and zones without code are refused', async () => {
  await using mayfly = await open({ zones: { compute: zone() } })
  const analysis = await mayfly.analyzeCode('return 1')
  const zones = await mayfly.createTemporalZones(analysis)
  const is = (code: string) => (error: unknown) =>
    error instanceof MayflyError && error.code === code
  await assert.rejects(mayfly.createTemporalZones({ ...analysis }), is('INVALID'))
  assert.throws(() => mayfly.assignCodeToZones('return 2', zones), is('INVALID'))
  assert.throws(() => mayfly.assignCodeToZones('return 2', analysis, zones), is('INVALID'))
  assert.throws(
    () =>
      mayfly.assignCodeToZones(
        'return 1',
        zones.map((one) => ({ ...one })),
      ),
    is('INVALID'),
  )
  await assert.rejects(mayfly.monitorZones(zones), is('NOT_FOUND'))
  assert.throws(() => mayfly.detectAnomaly(zones[0]!), is('NOT_FOUND'))
  assert.equal(mayfly.assignCodeToZones('return 1', analysis, zones).length, zones.length)
})

test('S2-23: an anomaly is attributed to its zone, and the zone is tightened or ended', async () => {
  await using mayfly = await open({
    zones: { network: zone({ on_anomaly: { medium: 'record' } }) },
    on_anomaly: { low: 'record', medium: 'record', high: 'terminate' },
  })
  const zones = await mayfly.initializeExecution(
    `async function spin(n) {
  for (let i = 0; i < n; i++) { try { await fetch('https://h' + i + '.example.org/') } catch {} }
  await new Promise((done) => setTimeout(done, 5000))
  return n
}
let said = 'done'
try { await spin(60) } catch (error) { said = error.message }
return said`,
    { network: { allow: ['api.example.com'] } },
  )
  const seen = Promise.withResolvers<string>()
  const outcome = mayfly.monitorZones(zones, {
    on: ({ event, zone: of }) => void (event === 'anomaly' && seen.resolve(of)),
  })
  const of = await Promise.race([seen.promise, outcome.then(({ status }) => `none: ${status}`)])
  assert.equal(of, 'spin')
  for (const one of zones) assert.equal(mayfly.detectAnomaly(one), one.id === of, `${one.id} ${of}`)
  const odd = zones.find(({ id }) => id === of)!
  assert.equal((await mayfly.tightenPolicy(odd)).held, true)
  await mayfly.terminateZone(odd)
  const { timeline } = await outcome
  const lines = timeline.filter(({ zone }) => zone === of)
  const orders = lines.map(({ event, reason }) => `${event}: ${reason}`)
  assert.ok(
    lines.some(({ event }) => event === 'anomaly'),
    JSON.stringify(timeline),
  )
  for (const order of [
    'tightened: operator: tightened by hand',
    'terminated: operator: ended by hand',
  ])
    assert.ok(orders.includes(order), JSON.stringify(timeline))
})

function bound(mayfly: Mayfly) {
  return {
    analyzeCode: mayfly.analyzeCode.bind(mayfly),
    createTemporalZones: mayfly.createTemporalZones.bind(mayfly),
    assignCodeToZones: mayfly.assignCodeToZones.bind(mayfly),
    monitorZones: mayfly.monitorZones.bind(mayfly),
  }
}
