import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Mayfly, type Box } from '../../src/index.ts'
import { signEnvelope } from '../../src/threat/signature.ts'
import { trustSigner } from '../../src/threat/signers.ts'
import { unable } from '../walls/process-stands.ts'
import { makePlace } from './program.ts'

/** Policies by the code of an exec: its first phase, its restraint, the grants of its signature. */
const place = makePlace()
after(() => place.remove())

/** Code with a risk of 95, which mines nothing. */
const suspect = 'var mine = () => new WebSocket("stratum+tcp://pool.example:3333"); 32'
const phases = [
  { name: 'full', for: '60s', advance_if: 'output.bytes > 0' },
  { name: 'quiet', for: '60s', network: 'none' as const },
]
const schedules = { default: { phases, begin_at: { suspect: 'quiet' } } }
const escalation = { 0: 'isolate' } as const
const begins = { schedules, escalation, restraint: {} }

const errorOf = async (box: Box, asked: Parameters<Box['run']>[0]) => {
  const { status, error } = await box.run(asked)
  return [status, error?.code]
}

suite('The policy for the code of an exec', () => {
  test('Code that begins with a later phase than that of its session is blocked until then', async () => {
    await using own = await Mayfly.open({ state: join(place.state, 'begins'), ...begins })
    await using box = await own.open({ language: 'js', network: 'open' })
    assert.deepEqual(await errorOf(box, { code: suspect }), ['blocked', 'FORBIDDEN'])
    assert.equal((await box.run({ code: '1 + 1' })).result, 2)
    await box.run({ code: 'console.log("next")' })
    const deadline = Date.now() + 30_000
    let last = await box.run({ code: suspect })
    // Until the phase has opened, however long its order takes.
    while (last.status === 'blocked' && Date.now() < deadline) {
      await setTimeout(20)
      last = await box.run({ code: suspect })
    }
    assert.equal(last.result, 32)
  })

  test('Code that was signed without a network is refused in a session that has one', async () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const sign = (capabilities: readonly string[]) =>
      signEnvelope({ code: '1 + 1', files: [] }, privateKey, { capabilities, expires: null })
    const state = join(place.state, 'signed')
    const signer = { key: sign([]).key, name: 'ann', tenant: null, at: Date.now() }
    trustSigner(state, signer, () => undefined)
    await using own = await Mayfly.open({ state })
    await using box = await own.open({ language: 'js', network: 'open' })
    await using shut = await own.open({ language: 'js' })
    const run = (where: Box, capabilities: readonly string[]) =>
      errorOf(where, { code: '1 + 1', signature: sign(capabilities) })
    assert.deepEqual(await run(box, []), ['blocked', 'SIGNATURE_INVALID'])
    assert.deepEqual(await run(box, ['network']), ['ok', undefined])
    assert.deepEqual(await run(shut, []), ['ok', undefined])
  })

  const skip = unable('node')
  test('A session keeps no more than the risk of its code leaves', { skip }, async () => {
    const state = join(place.state, 'restrained')
    const restraint = { 90: { cpu: 0.5, memory: 0.5, processes: 0.5 } }
    await using own = await Mayfly.open({ state, escalation, restraint })
    await using box = await own.open({ language: 'node', limits: { processes: 20, cpu: 1 } })
    const tightened = async (code: string) => {
      const { status, timeline, error } = await box.run({ code })
      assert.equal(status, 'ok', JSON.stringify(error))
      return timeline.filter(({ event }) => event === 'tightened')
    }
    assert.deepEqual(await tightened('1 + 1'), [])
    const [line] = await tightened(suspect)
    assert.deepEqual(line?.controls, { cpu: 0.5, processes: 10 })
    assert.match(line?.reason ?? '', /^restraint: .* risk of 95$/)
    assert.deepEqual(await tightened(suspect), [])
    const { profile } = await box.run({ code: '1 + 1' })
    const row = profile.explain.find(({ field }) => field === 'limits.cpu')
    assert.deepEqual(
      [row?.value, row?.because],
      [0.5, 'asked, then the restraint of an exec (risk 95)'],
    )
  })

  test('A session whose sandbox names no controls loses those that its provider lowers', async () => {
    const state = join(place.state, 'named')
    const restraint = { 90: { cpu: 0.5, processes: 0.5 } }
    await using own = await Mayfly.open({ state, escalation, restraint })
    await using box = await own.open({ language: 'js', limits: { processes: 20 } })
    const { status, timeline } = await box.run({ code: suspect })
    const lines = timeline.filter(({ event }) => event === 'tightened')
    assert.deepEqual([status, lines.map(({ controls }) => controls)], ['ok', [{ processes: 10 }]])
  })
})
