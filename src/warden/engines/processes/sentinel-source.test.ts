import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { suite, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { CProgramLookup } from '../../../jail/c-program.ts'
import type { SentinelState } from '../../../contract/warden.ts'
import {
  calmMs,
  compileRetryMsMax,
  compileRetryMsMin,
  trialMsMax,
  SentinelSource,
} from './sentinel-source.ts'

suite('The source of sentinels', () => {
  test("A sentinel's program is made once, for all walls", async () => {
    await using stand = open(['works'])
    const [one, other] = await Promise.all([stand.source.take(), stand.source.take()])
    assert.ok('fd' in one)
    assert.equal(one, other)
    assert.equal(await stand.source.take(), one)
    assert.deepEqual([stand.made(), stand.told], [1, []])
  })

  test('A failure is retried after a while, in the background, and by a single wall first', async () => {
    await using stand = open(['the disk is full', 'works'])
    assert.deepEqual(await stand.source.take(), { missing: 'the disk is full' })
    const off = { isOn: false, why: 'the disk is full', retryMs: compileRetryMsMin }
    assert.deepEqual(stand.told, [off])
    stand.pass(compileRetryMsMin - 1)
    assert.deepEqual([await stand.take(), stand.made()], ['the disk is full', 1])
    stand.pass(1)
    assert.equal(await stand.take(), 'the disk is full', 'nobody waits for it')
    await turn()
    assert.equal(stand.made(), 2)
    const first = await stand.source.take()
    assert.ok('fd' in first)
    assert.equal(await stand.take(), 'the disk is full', 'one wall tries it')
    stand.source.confirm(first)
    assert.equal(await stand.source.take(), first)
    assert.deepEqual(stand.told, [off, { isOn: true, why: '' }])
  })

  test('Repeated failures back off, and are reported once', async () => {
    await using stand = open(Array.from({ length: 40 }, () => 'there is none'))
    await stand.take()
    for (
      let wait = compileRetryMsMin;
      wait < 4 * compileRetryMsMax;
      wait = Math.min(compileRetryMsMax, wait * 2)
    ) {
      const made = stand.made()
      stand.pass(wait - 1)
      await stand.take()
      await turn()
      assert.equal(stand.made(), made)
      stand.pass(1)
      await stand.take()
      await turn()
      assert.equal(stand.made(), made + 1)
      if (made > 20) break
    }
    assert.equal(stand.told.length, 1)
  })

  test('A refused access to a wall turns it off for a while, regardless of concurrent reports', async () => {
    await using stand = open(['works'])
    const given = await stand.source.take()
    assert.ok('fd' in given)
    stand.source.refuse(given, 'not allowed')
    stand.source.refuse(given, 'not allowed either')
    stand.source.confirm(given)
    assert.equal(await stand.take(), 'not allowed')
    stand.pass(compileRetryMsMin)
    await stand.take()
    await turn()
    assert.equal(await stand.source.take(), given, 'what is there is not made again')
    assert.equal(await stand.take(), 'not allowed')
    stand.pass(trialMsMax)
    assert.equal(await stand.source.take(), given, 'who has shown nothing lets another try')
    stand.source.refuse(given, 'still not allowed')
    stand.pass(compileRetryMsMin)
    assert.equal(await stand.take(), 'still not allowed')
    await turn()
    assert.equal(await stand.take(), 'still not allowed', 'it waits for twice as long')
    assert.deepEqual([stand.made(), stand.told.length], [1, 1])
  })

  test('A failure soon after its return keeps the back-off', async () => {
    await using stand = open(['works'])
    const given = await stand.source.take()
    assert.ok('fd' in given)
    const waits: (number | undefined)[] = []
    for (const held of [0, 1000, 1000, calmMs]) {
      stand.pass(held)
      stand.source.refuse(given, 'now and then')
      waits.push(stand.told.at(-1)!.retryMs)
      stand.pass(compileRetryMsMax)
      await stand.take()
      await turn()
      await stand.source.take()
      stand.source.confirm(given)
    }
    assert.deepEqual(
      waits,
      [1, 2, 4, 1].map((times) => times * compileRetryMsMin),
    )
  })
})

/** Each time it is to be made it comes to the next of these. */
function open(comes: readonly string[]) {
  let [made, at] = [0, 0]
  const told: SentinelState[] = []
  const make = async (): Promise<CProgramLookup> => {
    const next = comes[made++] ?? 'asked too often'
    return next === 'works'
      ? { file: process.execPath, fd: openSync(process.execPath, 'r') }
      : { missing: next }
  }
  const source = new SentinelSource({ make, report: (one) => void told.push(one), now: () => at })
  return {
    source,
    told,
    made: () => made,
    pass: (ms: number) => void (at += ms),
    /** Why there is none. */
    async take() {
      const found = await source.take()
      return 'missing' in found ? found.missing : 'works'
    },
    [Symbol.asyncDispose]: () => source.close(),
  }
}
