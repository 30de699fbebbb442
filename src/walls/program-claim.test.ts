import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MayflyError, type ErrorCode } from '../contract/error.ts'
import { allControls, noNetwork } from '../contract/controls.ts'
import { claimForked, claimProgram } from './program-claim.ts'

const controls = { ...allControls, network: noNetwork }
const profile = {
  language: 'js',
  tier: 'process',
  tenant: 't',
  packages: [],
  image: 'builtin',
  limits: { disk: 0, timeout: 1_000 },
  schedule: { phases: [{ for: 1_000, controls }], onAnomaly: { medium: 'record' } },
  controls,
}

/** A claim of JavaScript, for which the walls of a played pool answer with these codes, one after the other. */
async function claimWith(codes: readonly (ErrorCode | 'spent')[]) {
  const killed: string[] = []
  let walls = 0
  const take = () => {
    const id = `w${++walls}`
    return Promise.resolve({
      wall: { wall: { id }, streams: undefined, kill: async () => void killed.push(id) },
      pool: 'hit',
    })
  }
  const left = [...codes]
  const claim = () => {
    const code = left.shift()
    if (code === undefined || code === 'spent')
      return Promise.resolve({ spent: code === 'spent', enforced: {} })
    return Promise.reject(new MayflyError(code, 'Cannot claim it'))
  }
  const parts = [{ take }, { claim }, profile] as never as Parameters<typeof claimProgram>
  const claimed = await claimProgram(...parts).catch((error: MayflyError) => error)
  return { claimed, killed }
}

test('A parked wall that is spent, gone, or does not answer its claim is killed, and the next one is claimed', async () => {
  for (const code of ['spent', 'NOT_FOUND', 'PROTOCOL'] as const) {
    const { claimed, killed } = await claimWith([code, code])
    assert.ok('wall' in claimed, code)
    assert.deepEqual([claimed.wall.wall.id, killed], ['w3', ['w1', 'w2']], code)
  }
})

test('The third wall that cannot be claimed is the last, and any other error ends the claim at once', async () => {
  for (const [codes, told, count] of [
    [['PROTOCOL', 'NOT_FOUND', 'PROTOCOL'], 'PROTOCOL', 3],
    [['spent', 'spent', 'spent'], 'UNAVAILABLE', 3],
    [['CONFLICT'], 'CONFLICT', 1],
  ] as const) {
    const { claimed, killed } = await claimWith(codes)
    assert.ok(claimed instanceof MayflyError)
    assert.deepEqual([claimed.code, killed.length], [told, count])
  }
})

test('A forked wall that has ended, or is spent, is UNAVAILABLE, and any other error of its claim is told', async () => {
  const claimed = async (answer: () => Promise<unknown>) => {
    const parts = [{ wall: { id: 'w1' } }, { claim: answer }, profile] as never
    return await claimForked(...(parts as Parameters<typeof claimForked>)).catch(
      ({ code }: MayflyError) => code,
    )
  }
  const refused = (code: ErrorCode) => () => Promise.reject(new MayflyError(code, 'Cannot claim'))
  assert.equal(await claimed(refused('NOT_FOUND')), 'UNAVAILABLE')
  assert.equal(await claimed(() => Promise.resolve({ spent: true })), 'UNAVAILABLE')
  assert.equal(await claimed(refused('PROTOCOL')), 'PROTOCOL')
  const { held } = (await claimed(() => Promise.resolve({ enforced: {} }))) as { held: object }
  assert.deepEqual(held, {})
})
