import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { Mayfly } from '../../src/index.ts'
import { processFacts } from '../../src/os/proc.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { test } from '../fixtures/drawn.ts'

/** Compares the metrics of a job in an isolate with measurements taken from outside its worker. */
const tries = 8
const TICK_MS = 10
const folder = mkdtempSync(join(tmpdir(), 'mayfly-isolate-figures-'))
let library: Mayfly
before(async () => {
  library = await Mayfly.open({ state: join(folder, 'state') })
})
after(async () => {
  await library.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Computes for about a second between two lines, then waits for another between two. */
const code = `console.log('begin')
const began = Date.now()
let n = 0
while (Date.now() - began < 1000) n++
console.log('middle')
await new Promise((done) => setTimeout(done, 1000))
console.log('end')
return n > 0`

/** CPU milliseconds of each process below this one. */
const ticks = () =>
  new Map(
    descendantsOf(process.pid).map((pid) => [pid, (processFacts(pid)?.cpuTicks ?? 0) * TICK_MS]),
  )

const isNear = (said: number, seen: number, share: number) => Math.abs(said - seen) <= seen * share

suite('Figures of an isolate', () => {
  test('S4-21: time and CPU time match measurements from outside, in one of eight tries', async (t) => {
    const isolate = (await library.providers()).find(
      ({ provider }) => provider.name === 'isolated-vm',
    )
    if (!isolate?.availability.available) return t.skip('no isolate here')
    const told: string[] = []
    for (let n = 0; n < tries; n++) {
      const at: Record<string, number> = {}
      const cpu: Record<string, ReadonlyMap<number, number>> = {}
      const tap = (_: string, text: string) => {
        for (const word of ['begin', 'middle', 'end'])
          if (text.includes(word)) {
            at[word] = performance.now()
            cpu[word] = ticks()
          }
      }
      const asked = { code, limits: { timeout: '20s' }, provider: 'isolated-vm' } as const
      const { status, metrics, error } = await library.run(asked, { tap })
      assert.equal(status, 'ok', JSON.stringify(error))
      const spent = [...cpu['middle']!].map(([pid, ms]) => ms - (cpu['begin']!.get(pid) ?? 0))
      const [seenMs, seenCpuMs] = [at['end']! - at['begin']!, Math.max(...spent)]
      const { executionTime, cpuTime } = metrics
      told.push(JSON.stringify({ executionTime, seenMs, cpuTime, seenCpuMs }))
      if (isNear(executionTime, seenMs, 0.05) && isNear(cpuTime, seenCpuMs, 0.15)) return
    }
    assert.fail(told.join('; '))
  })
})
