import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TimelineEntry } from '../../contract/event.ts'
import { noPlan } from '../../picture/life.js'
import { drawExecution } from './timeline.ts'

type Parts = Parameters<typeof drawExecution>[0]
type Call = Parameters<typeof drawExecution>[1]

const id = `exec_${'0'.repeat(32)}`
const timeline: TimelineEntry[] = [{ at: 0, zone: 'main', event: 'phase', phase: 'full' }]
const metrics = { executionTime: 1, network: [] }
const outcome = { status: 'ok', timeline, metrics, stdout: '', profile: { explain: [] } }
const call = {
  http: { incoming: { url: '/' }, outgoing: { once: () => undefined } },
  identity: { tenant: 'acme' },
  params: { id },
} as unknown as Call

for (const isLive of [true, false])
  test(`The picture of ${isLive ? 'a running' : 'an ended'} job is drawn in its tenant's turn of the thread`, async () => {
    const made: unknown[] = []
    const life = { plan: noPlan, wall: '', status: 'running', timeline, age: 1, network: [] }
    let isInTurn = false
    const running = {
      get life() {
        assert.ok(isInTurn)
        return life
      },
    }
    const parts = {
      live: { find: () => (isLive ? { timeline: running } : undefined) },
      history: { outcome: () => (assert.ok(isInTurn), JSON.stringify(outcome)) },
      answers: { isFull: () => false, hold: () => ({ add: () => true }) },
      bodies: {
        turn: async <T>(of: string, work: () => T) => {
          isInTurn = true
          const value = work()
          isInTurn = false
          made.push(of, value)
          return value
        },
      },
    } as unknown as Parts
    const text = await (await drawExecution(parts, call)).text()
    assert.match(text, /^<svg /)
    assert.deepEqual(made, ['acme', text])
  })
