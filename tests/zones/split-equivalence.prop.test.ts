import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { Exchange } from '../../src/zones/exchange.ts'
import { runSplit, runWhole, splitOf } from './run-in-process.ts'
import { sampledRuns } from '../fixtures/drawn.ts'
import { program } from './generated-programs.ts'

const runs = sampledRuns(1500, import.meta.filename)

test('S2-4: thousands of generated programs give the same result in zones as in one piece', async (t) => {
  const handle = t.mock.method(Exchange.prototype, 'handle')
  let withZones = 0
  await fc.assert(
    fc.asyncProperty(program, async (code) => {
      const { zones } = splitOf(code)
      if (zones.length === 0) return
      withZones++
      const input = { list: [1, 2, 3], a: { b: 'c' } }
      const whole = await runWhole(code, input)
      const split = await runSplit(code, input)
      const seen = (one: unknown) => inspect(one, { depth: 20, sorted: false })
      assert.equal(seen(split), seen(whole), `zones: ${zones.map(({ name }) => name).join()}`)
    }),
    { numRuns: runs },
  )
  assert.ok(withZones > runs / 20, `only ${withZones} programs had zones`)
  const calls = handle.mock.calls.filter(({ arguments: [from] }) => from === 'main').length
  assert.ok(calls > withZones / 2, `only ${calls} calls of zones`)
})

test('functions that share mutable state never become a zone', () => {
  fc.assert(
    fc.property(program, (code) => {
      for (const { cut } of splitOf(code).zones) {
        const text = code.slice(...cut)
        assert.doesNotMatch(text, /shared|seen|x\.changed|\(\) => x|got/)
        if (code.startsWith('let limit')) assert.doesNotMatch(text, /limit/)
        if (/words = \[\]/.test(code)) assert.doesNotMatch(text, /words/)
      }
    }),
    { numRuns: runs },
  )
})
