import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../../tests/sim/simulated-clock.ts'
import { profileOf, taskOf } from '../../../tests/sim/simulated-life.ts'
import { noNetwork } from '../../contract/controls.ts'
import type { TaskIo } from '../../contract/provider.ts'
import { createMockProvider, type MockOptions } from './provider.ts'

const silent: TaskIo = { stdout() {}, stderr() {}, released() {} }

async function launch(options: MockOptions = {}, profile = profileOf()) {
  const clock = new SimulatedClock()
  return { clock, sandbox: await createMockProvider(options).launch(profile, clock) }
}

test('The mock is marked as a mock, and returns the input', async () => {
  const { sandbox } = await launch()
  const code = "throw new Error('it ran')"
  const end = await sandbox.run(taskOf({ code, inputText: '{"a":1}' }), silent)
  assert.deepEqual(JSON.parse(end.resultText), { mock: true, echo: { a: 1 } })
  assert.equal(sandbox.provider, 'mock')
})

test('The mock is always there, except in production (S4-24)', async () => {
  const found = await createMockProvider().detect()
  assert(found.available && found.strength === 0)
  const refused = createMockProvider({ environment: 'production' })
  assert.equal((await refused.detect()).available, false)
  await assert.rejects(refused.launch(profileOf(), new SimulatedClock()), { code: 'UNAVAILABLE' })
})

test('The mock is refused in production, however its name is written', async () => {
  for (const environment of ['prod', 'Production', 'PRODUCTION']) {
    const found = await createMockProvider({ environment }).detect()
    assert.equal(found.available, false)
  }
})

test('A mock sandbox is used once', async () => {
  const { sandbox } = await launch()
  await sandbox.run(taskOf(), silent)
  await assert.rejects(sandbox.run(taskOf(), silent), { code: 'CONFLICT' })
  await sandbox[Symbol.asyncDispose]()
  const unused = await launch()
  await unused.sandbox[Symbol.asyncDispose]()
  await assert.rejects(unused.sandbox.run(taskOf(), silent), { code: 'CONFLICT' })
})

test('A mock sandbox refuses looser controls', async () => {
  const { sandbox } = await launch()
  const open = profileOf().controls
  const closed = { ...open, network: noNetwork }
  assert.deepEqual((await sandbox.tighten(closed)).controls, closed)
  await assert.rejects(sandbox.tighten(open), { code: 'CONFLICT' })
})

test('Destroying a mock sandbox twice gives one receipt, and ends its running task', async () => {
  const { clock, sandbox } = await launch({ script: () => [{ at: 500, result: 1 }] })
  const end = sandbox.run(taskOf(), silent)
  await clock.run(100)
  await sandbox[Symbol.asyncDispose]()
  const { receipt } = sandbox
  await sandbox[Symbol.asyncDispose]()
  assert.equal(sandbox.receipt, receipt)
  assert.deepEqual(receipt?.forced, ['kill'])
  assert.equal((await end).status, 'terminated')
  assert.equal(clock.pending, 0)
})

test('A kill ends a mock life from any state', async () => {
  const before = await launch()
  before.sandbox.kill({ status: 'cancelled' })
  assert.equal((await before.sandbox.run(taskOf(), silent)).status, 'cancelled')

  const during = await launch({ script: () => [] })
  const end = during.sandbox.run(taskOf(), silent)
  await during.clock.run(10)
  during.sandbox.kill({ status: 'timeout' })
  during.sandbox.kill({ status: 'cancelled' })
  assert.equal((await end).status, 'timeout')
})

test('Output is sent in chunks of 64 KiB, each after the previous one was accepted', async () => {
  const { clock, sandbox } = await launch({ script: () => [{ spam: 150_000 }, { result: null }] })
  const sizes: number[] = []
  let waiting = 0
  const end = sandbox.run(taskOf(), {
    ...silent,
    async stdout(chunk) {
      waiting += 1
      assert.equal(waiting, 1)
      await new Promise<void>((resolve) => clock.after(5, resolve))
      waiting -= 1
      sizes.push(chunk.length)
    },
  })
  await clock.run()
  assert.equal((await end).status, 'ok')
  assert.deepEqual(sizes, [65_536, 65_536, 18_928])
  assert.equal(clock.now(), 15)
})

test('Memory above the limit ends a mock life as a limit', async () => {
  const { sandbox } = await launch({ script: () => [{ memory: 2 ** 40 }, { result: 1 }] })
  const end = await sandbox.run(taskOf(), silent)
  assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'])
})
