import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { promisify } from 'node:util'
import { openLog } from '../../src/evidence/log-reader.ts'
import { Mayfly } from '../../src/index.ts'
import { test } from '../fixtures/drawn.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-trace-'))
const state = join(folder, 'state')
const mayfly = await Mayfly.open({
  state,
  schedules: {
    default: {
      phases: [{ name: 'full', for: '20s' }],
      zones: { 'input-validation': { phases: [{ name: 'brief', for: '10s' }] } },
    },
  },
})
after(async () => {
  await mayfly.close()
  rmSync(folder, { recursive: true, force: true })
})

const code = `function checkAll(list) {
  const isGood = (one) => one > 1
  return list.every(isGood)
}
function sum(list) { return list.reduce((a, b) => a + b, 0) }
function never() { return 0 }
const good = await checkAll([2, 3])
return good ? sum([2, 3]) : never()`

test('S2-5: executed functions are in the outcome and in the record, on every wall here that traces', async () => {
  const proved = await mayfly.providers()
  const tracing = proved
    .filter(
      ({ availability, provider }) => availability.available && provider.can.includes('trace'),
    )
    .map(({ provider }) => provider)
  assert.ok(tracing.length > 0)
  assert.ok(tracing.some(({ tier }) => tier === 'isolate'))
  for (const { name, tier } of tracing) {
    const { id, status, result, ran, error } = await mayfly.run({
      code,
      provider: name,
      trace: true,
    })
    assert.equal(status, 'ok', JSON.stringify(error))
    assert.equal(result, 5)
    // Only an isolate has zones of functions.
    const zone = tier === 'isolate' ? 'checkAll' : 'main'
    assert.deepEqual(ran, [
      { zone, name: 'checkAll', line: 1, endLine: 4, calls: 1 },
      { zone, name: 'isGood', line: 2, endLine: 2, calls: 2 },
      { zone: 'main', name: 'sum', line: 5, endLine: 5, calls: 1 },
      { zone: 'main', name: '', line: 5, endLine: 5, calls: 2 },
    ])
    using log = openLog(join(state, 'audit.db'))
    const line = log.last(1000, id).find(({ kind }) => kind === 'ended')
    assert.deepEqual(JSON.parse(String(line?.bodyText)).ran, ran)
  }
})

test('The terminal shows the trace as a table, and tracing of another language is refused with a hint', async () => {
  const file = join(folder, 'program.js')
  writeFileSync(file, code)
  const { stderr } = await run('run', file, '--trace', '--state', state)
  assert.match(stderr, /^zone +function +lines +entered$/m)
  assert.match(stderr, /^main +checkAll +1-4 +1$/m)
  assert.match(stderr, /^main +\(no name\) +5 +2$/m)
  const { status, error } = await mayfly.run({ code: 'print(1)', language: 'python', trace: true })
  assert.equal(status, 'unavailable')
  assert.match(JSON.stringify(error?.details), /Write it in js or ts/)
})

const bin = new URL('../../bin/mayfly.js', import.meta.url).pathname
const run = (...args: readonly string[]) => promisify(execFile)(process.execPath, [bin, ...args])
