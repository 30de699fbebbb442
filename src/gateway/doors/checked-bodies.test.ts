import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../contract/clock.ts'
import type { Door } from './door.ts'
import { execute } from './executions.ts'
import { forkSandbox, openSandbox, runInSandbox } from './sessions.ts'
import { analyseZones } from './zones.ts'

interface Asked {
  readonly of: string
  readonly use: (body: object) => unknown
}

test('A body is checked in the turn of its parsing', async () => {
  const doors = { execute, openSandbox, forkSandbox, runInSandbox, analyseZones }
  for (const [name, door] of Object.entries(doors)) {
    const reads: boolean[] = []
    let isTurn = false
    const value = {
      get labels() {
        reads.push(isTurn)
        return { a: 0 }
      },
    }
    const parts = {
      bodies: {
        jsonAs: async (_in: unknown, _out: unknown, { of, use }: Asked) => {
          assert.equal(of, 'acme')
          isTurn = true
          try {
            return use({ value, kept: undefined })
          } finally {
            isTurn = false
          }
        },
      },
      running: { refuseWhenDraining: () => undefined },
      sessions: { held: { has: () => true, find: () => ({ session: {} }) } },
      clock: systemClock,
    }
    const incoming = { headers: { 'content-length': '9' } }
    const identity = { id: 'k', tenant: 'acme', principal: 'k', scopes: ['run'] }
    const call = { http: { incoming, outgoing: {} }, identity, params: { id: 'a' } }
    const asked = (door as Door<never>)(parts as never, call as never)
    await assert.rejects(Promise.resolve(asked), { code: 'INVALID' }, name)
    assert.ok(reads.length > 0 && reads.every((isIn) => isIn), `${name}: ${reads.join()}`)
  }
})
