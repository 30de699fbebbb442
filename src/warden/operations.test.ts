import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import type { ZoneControl } from '../contract/engine.ts'
import type { LiveWalls } from './live-walls.ts'
import { operations } from './operations.ts'

test('A claim with zones of programs is refused where the engine makes none', async () => {
  await assert.rejects(claimed({ zones: undefined }), {
    code: 'UNAVAILABLE',
    message: /^Cannot make program zones in wall "w1": /,
  })
  const zones = {} as ZoneControl
  assert.deepEqual(await claimed({ zones }), { value: { spent: false, enforced: {} } })
})

test('A wall whose calls may still be open is ended; one whose programs have ended keeps its own exit', async () => {
  for (const [code, ends] of [
    ['UNAVAILABLE', ['killed']],
    ['NOT_FOUND', []],
  ] as const) {
    const ended: string[] = []
    const close = () => Promise.reject(new MayflyError(code, 'Cannot close'))
    const enclosure = { wall: { calls: ['write'] }, calls: { close } }
    const wall = { enclosure, end: (how: string) => void ended.push(how) }
    const walls = { find: () => wall } as unknown as LiveWalls
    const asked = { protocol: 1, id: 1, op: 'calls', wall: 'w1', phases: [] } as const
    await assert.rejects(async () => await operations.calls(walls, asked), { code })
    assert.deepEqual(ended, ends)
  }
})

/** Answer to a claim with one zone rule, of an enclosure that accepts every claim. */
async function claimed({ zones }: { readonly zones: ZoneControl | undefined }) {
  const wall = {
    id: 'w1',
    life: { claim() {} },
    enclosure: {
      zones,
      claim: async () => ({ spent: false, enforced: {}, bytes: 0, idleBytes: 0 }),
      closeEgress() {},
    },
  }
  const walls = { find: () => wall, hold() {} } as unknown as LiveWalls
  const video = { kind: 'video', programs: ['ffmpeg'], life: 1000 }
  const asked = { wall: 'w1', tenant: 't', memory: 1, deadline: 1000, zones: [video] }
  return await operations.claim(walls, { protocol: 1, id: 1, op: 'claim', ...asked })
}
