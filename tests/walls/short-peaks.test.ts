import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { messageIn, Stand } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { isMissing, unable } from './process-stands.ts'

const most = 20_000_000
const cases = [
  [inPython, `x = bytearray(${most})`],
  [inPython, `x = bytearray(${most})\nraise SystemExit(3)`],
  [inNode, `Buffer.alloc(${most}, 1)`],
  [inShell, `python3 -c 'bytearray(${most})'`],
] as const

suite('Peak memory of short runs', { skip: unable('python') }, () => {
  for (const jailKind of ['embedded', 'bubblewrap'] as const)
    for (const [of, code] of cases)
      test(`${jailKind}: the peak of ${of.language} is known without a sample of it: ${code}`, async (t) => {
        if (isMissing(t, { jailKind })) return
        const { provider, close } = await makeProcesses(jailKind, {})
        try {
          const stand = new Stand(provider, () => Promise.reject(new Error('no other')), of)
          const { end } = await stand.run(code, { entry: 'program' })
          const { peak = 0, absolute = 0 } = end.memory ?? {}
          assert.ok(peak >= most, `${peak} bytes: ${messageIn(end)}`)
          assert.ok(peak < 2 * most, `${peak} bytes`)
          assert.ok(absolute > peak, `${absolute} bytes with the idle wall`)
        } finally {
          await provider.close?.()
          await close()
        }
      })
})
