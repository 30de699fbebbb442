import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { suite, test } from 'node:test'
import type { WardenClient } from './client.ts'
import type { Wall } from '../contract/warden.ts'
import { ProgramSpares, spareDiskBytes, usualCalls } from './program-spares.ts'

suite('The parked walls of programs', () => {
  test('started without a sentinel are dropped once walls have one again', async () => {
    const made: (() => string)[] = []
    const comes = ['sentinel', 'none', 'none', 'sentinel', 'sentinel', 'none', 'sentinel']
    const spares = new ProgramSpares({
      mechanism: 'embedded',
      least: 0,
      most: 1,
      warden: wardenOf(comes),
      warm: ({ madeOf, start }) => {
        made.push(madeOf)
        return {
          take: async () => ({ spare: await start(true, false), pool: 'miss' as const }),
          close: () => Promise.resolve(),
        }
      },
    })
    const seen: string[] = []
    while (comes.length > 0) {
      await spares.take({ language: 'node', disk: spareDiskBytes, calls: usualCalls })
      seen.push(made[0]!())
    }
    const changes = seen.map((one, at) => at > 0 && one !== seen[at - 1])
    assert.deepEqual(changes, [false, false, false, true, false, false, true])
  })
})

/** Starts one wall after the other, with a sentinel or without. */
function wardenOf(comes: string[]): WardenClient {
  let walls = 0
  const start = () => {
    const wall = { id: `w${++walls}`, layers: [comes.shift()], idleBytes: 0 } as unknown as Wall
    const streams = { stdout: new Socket(), stderr: new Socket() }
    return Promise.resolve({ wall, socket: new Socket(), streams })
  }
  return { start, onLost: () => () => undefined, onEnded: () => undefined } as never
}
